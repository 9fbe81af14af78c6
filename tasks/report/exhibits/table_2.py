"""Table 2: the vote on the same problems (Section 3.2)."""

from collections.abc import Sequence

from tasks.report.exhibits.evidence import Evidence
from tasks.report.exhibits.exhibit import Exhibit
from tasks.report.exhibits.families import VOTE, family
from tasks.report.exhibits.table import by_benchmark

ABOUT = (
    "Self-Consistency: the majority's answer over N draws from the pool, 64 times. In brackets the thousands of "
    "completion tokens that N draws take."
)


def table_2(campaigns: Sequence[Evidence]) -> Exhibit | None:
    """All sc@N of the campaigns, by N."""
    votes = {method.name: method for one in campaigns for method in one.plan.methods if family(method) == VOTE}
    names = sorted(votes, key=lambda name: votes[name].widths[0])
    return by_benchmark("table-2", "Table 2: the vote", ABOUT, campaigns, names, "table_2") if names else None
