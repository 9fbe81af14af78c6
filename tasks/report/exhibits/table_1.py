"""Table 1: accuracy and test-time compute of the levels (Section 3.2)."""

from collections.abc import Sequence

from tasks.report.exhibits.evidence import Evidence
from tasks.report.exhibits.exhibit import Exhibit
from tasks.report.exhibits.table import by_benchmark

LEVELS = ("low", "medium", "high")
ABOUT = "Accuracy in percent, and in brackets the thousands of completion tokens that one run takes a problem."


def table_1(campaigns: Sequence[Evidence]) -> Exhibit | None:
    """pass@1 and the levels that a campaign ran."""
    levels = [name for name in LEVELS if any(method.name == name for one in campaigns for method in one.reasoning())]
    if not levels:
        return None
    return by_benchmark(
        "table-1", "Table 1: accuracy by level of coordination", ABOUT, campaigns, ["pass@1", *levels], "table_1"
    )
