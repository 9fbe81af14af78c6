"""Figure 1: accuracy against test-time compute, on a logarithmic axis."""

from collections import defaultdict
from collections.abc import Sequence

from tasks.report.exhibits.evidence import Evidence
from tasks.report.exhibits.exhibit import Curve, Exhibit, Panel, Point, figure
from tasks.report.exhibits.families import COORDINATED, SEQUENTIAL, VOTE, family
from tasks.report.exhibits.quoted import heading, quoted

ABOUT = "What a method reaches, and what one run of it takes a problem. Up and to the left is better."
JOINED = (COORDINATED, VOTE, SEQUENTIAL)


def figure_1(campaigns: Sequence[Evidence]) -> Exhibit | None:
    """A panel a benchmark: one curve for each way to spend compute, the paper's points beside."""
    panels = []
    for benchmark in dict.fromkeys(one.benchmark for one in campaigns):
        here = [one for one in campaigns if one.benchmark == benchmark]
        several = len({one.model for one in here}) > 1
        curves = [curve for one in here for curve in _curves(one, f"{one.model}, " if several else "")]
        if curves:
            panels.append(
                Panel(
                    heading(benchmark),
                    "TTC: completion tokens a problem",
                    "accuracy %",
                    [*curves, *_quoted(benchmark)],
                    logarithm=10,
                    labelled=True,
                )
            )
    notes = [one.note for one in campaigns]
    return figure("figure-1", "Figure 1: accuracy against test-time compute", ABOUT, panels, notes)


def _curves(evidence: Evidence, prefix: str) -> list[Curve]:
    points: dict[str, list[Point]] = defaultdict(list)
    for name, result in evidence.results.items():
        kind = VOTE if name == "pass@1" else family(result.method)
        point = evidence.point(name, result.line.ttc_tokens)
        if kind and point and point.x > 0:
            points[kind].append(point)
    return [
        Curve(prefix + kind, sorted(points[kind], key=lambda point: point.x), joined=kind in JOINED) for kind in points
    ]


def _quoted(benchmark: str) -> list[Curve]:
    points: dict[str, list[Point]] = defaultdict(list)
    for table in ("table_1", "table_2"):
        for row in quoted(table):
            accuracy, ttc = row.values.get(benchmark, (0.0, None))
            if ttc:
                points[f"{row.model}{', vote' if table == 'table_2' else ''}"].append(
                    Point(ttc, accuracy, None, row.method)
                )
    return [Curve(label, of, quoted=True) for label, of in points.items()]
