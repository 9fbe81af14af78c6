"""The paper's tables and figures, from the store alone. One exhibit, one file."""

from collections.abc import Callable, Sequence

from tasks.report.exhibits.evidence import Evidence
from tasks.report.exhibits.exhibit import Exhibit
from tasks.report.exhibits.figure_1 import figure_1
from tasks.report.exhibits.figure_4 import figure_4_left, figure_4_right
from tasks.report.exhibits.figure_5 import figure_5_left, figure_5_right
from tasks.report.exhibits.methods import all_methods, comparisons
from tasks.report.exhibits.table_1 import table_1
from tasks.report.exhibits.table_2 import table_2
from tasks.report.exhibits.table_8 import table_8

EXHIBITS: list[Callable[[Sequence[Evidence]], Exhibit | None]] = [
    table_1,
    table_2,
    figure_1,
    figure_4_left,
    figure_4_right,
    figure_5_left,
    figure_5_right,
    table_8,
    comparisons,
    all_methods,
]
"""Each gives None where the campaigns have not what it needs."""


def exhibits(campaigns: Sequence[Evidence]) -> list[Exhibit]:
    """All that the campaigns have what it needs for."""
    return [exhibit for make in EXHIBITS if (exhibit := make(campaigns))]
