"""Curation: from collected problems to those on which naive aggregation fails (Section 3.1, Appendix C, Table 7)."""
