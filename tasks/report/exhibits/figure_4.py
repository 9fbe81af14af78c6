"""Figure 4: in parallel or one after the other (left); messages or whole trajectories (right)."""

from collections.abc import Callable, Sequence

import numpy as np

from tasks.campaign.method import Method
from tasks.report.exhibits.evidence import Evidence
from tasks.report.exhibits.exhibit import Curve, Exhibit, Panel, Point, figure
from tasks.report.exhibits.families import COORDINATED, SEQUENTIAL, SUMMARIES, VOTE, WHOLE, family, is_parallel
from tasks.report.exhibits.quoted import heading
from tasks.report.statistics import bootstrap_interval

LEFT = "Accuracy by the number of trajectories that a run uses: K⃗ = [N], K⃗ = [1, 1, … 1], and the vote over N."
RIGHT = (
    "What the last round is given: the messages of N trajectories, or the trajectories whole. Accuracy, and the tokens "
    "of its prompt with the model's window."
)


def figure_4_left(campaigns: Sequence[Evidence]) -> Exhibit | None:
    """A panel a campaign that has both, parallel and sequential."""
    panels = []
    for one in campaigns:
        parallel = _curve(one, "parallel, K⃗ = [N]", _is_plain_parallel, _trajectories)
        sequential = _curve(one, "sequential, K⃗ = [1, … 1]", lambda method: family(method) == SEQUENTIAL, _trajectories)
        if parallel.points and sequential.points:
            votes = [name for name, result in one.results.items() if family(result.method) == VOTE]
            found = [one.point("pass@1", 1), *(one.point(name, one.results[name].method.widths[0]) for name in votes)]
            vote = Curve("vote over N", sorted((point for point in found if point), key=lambda point: point.x))
            curves = [vote, parallel, sequential]
            panels.append(Panel(_title(one), "trajectories a run", "accuracy %", curves, logarithm=2))
    notes = [one.note for one in campaigns]
    return figure("figure-4-left", "Figure 4, left: parallel or sequential", LEFT, panels, notes)


def figure_4_right(campaigns: Sequence[Evidence]) -> Exhibit | None:
    """Two panels a campaign that has both, messages and whole trajectories."""
    panels = []
    for one in campaigns:
        kinds = {"messages": _is_plain_parallel, "whole trajectories": _is_whole, "summaries": _is_summary}
        accuracy = [_curve(one, label, kind, _messages) for label, kind in kinds.items()]
        if accuracy[0].points and accuracy[1].points:
            prompts = [_prompt_curve(one, label, kind) for label, kind in kinds.items()]
            limit = (float(one.window), "the model's window") if one.window else None
            x = "trajectories in the first round, N"
            panels.append(Panel(_title(one), x, "accuracy %", _with_points(accuracy), logarithm=2))
            panels.append(
                Panel(
                    _title(one),
                    x,
                    "tokens of the last prompt",
                    _with_points(prompts),
                    percent=False,
                    logarithm=2,
                    limit=limit,
                )
            )
    notes = [one.note for one in campaigns]
    return figure("figure-4-right", "Figure 4, right: with and without compaction", RIGHT, panels, notes)


def _with_points(curves: Sequence[Curve]) -> list[Curve]:
    return [curve for curve in curves if curve.points]


def _curve(evidence: Evidence, label: str, belongs: Callable[[Method], bool], x: Callable[[Method], int]) -> Curve:
    found = [evidence.point(method.name, x(method)) for method in evidence.reasoning() if belongs(method)]
    return Curve(label, sorted((point for point in found if point), key=lambda point: point.x))


def _prompt_curve(evidence: Evidence, label: str, belongs: Callable[[Method], bool]) -> Curve:
    points = []
    for method in evidence.reasoning():
        if belongs(method):
            tokens: dict[str, list[int]] = {}
            for step in evidence.steps([method], len(method.rounds)):
                tokens.setdefault(step.problem.id, []).append(evidence.prompt_tokens(step.id))
            means = np.array([np.mean(of_problem) for of_problem in tokens.values()])
            if means.size:
                size = f"{len(tokens)} problems, {sum(map(len, tokens.values()))} prompts"
                points.append(
                    Point(_messages(method), float(means.mean()), bootstrap_interval(means), method.name, size)
                )
    return Curve(label, sorted(points, key=lambda point: point.x))


def _is_plain_parallel(method: Method) -> bool:
    return is_parallel(method) and family(method) in (COORDINATED, SEQUENTIAL) and method.read_out == "last"


def _is_whole(method: Method) -> bool:
    return is_parallel(method) and family(method) == WHOLE


def _is_summary(method: Method) -> bool:
    return family(method) == SUMMARIES


def _trajectories(method: Method) -> int:
    return sum(method.widths)


def _messages(method: Method) -> int:
    return method.widths[0]


def _title(evidence: Evidence) -> str:
    return f"{heading(evidence.benchmark)}, {evidence.model}"
