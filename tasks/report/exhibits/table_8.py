"""Table 8: K⃗ = [K₁, K₂], how wide the second round should be (Appendix D)."""

from collections import Counter
from collections.abc import Sequence

from tasks.report.exhibits.evidence import Evidence
from tasks.report.exhibits.exhibit import Exhibit
from tasks.report.exhibits.families import COORDINATED, family
from tasks.report.exhibits.table import by_benchmark

ABOUT = "The same first round, and a second round of several widths; the last round is one trajectory."


def table_8(campaigns: Sequence[Evidence]) -> Exhibit | None:
    """The methods of three rounds whose first round is as wide as another's."""
    methods = {
        method.name: method
        for one in campaigns
        for method in one.reasoning()
        if len(method.rounds) == 3 and method.read_out == "last" and family(method) == COORDINATED
    }
    shared = Counter(method.widths[0] for method in methods.values())
    compared = sorted(
        (method for method in methods.values() if shared[method.widths[0]] > 1), key=lambda method: method.widths
    )
    names = [method.name for method in compared]
    return by_benchmark("table-8", "Table 8: width of the second round", ABOUT, campaigns, names, "table_8")
