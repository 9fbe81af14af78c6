"""Figure 5: do solutions speak of their references (left), and are they right where all of those are wrong (right)?"""

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from tasks.campaign.method import Method
from tasks.report.exhibits.evidence import Evidence, percent
from tasks.report.exhibits.exhibit import Curve, Exhibit, Panel, Point, figure
from tasks.report.exhibits.families import COORDINATED, family
from tasks.report.exhibits.quoted import heading
from tasks.report.statistics import bootstrap_interval
from tasks.store.tables import trajectories_table

ROW = ["id", "generation", "started", "seconds"]
WORDS = Path(__file__).with_name("cross_checking.yaml")
LEFT = (
    "Share of trajectories, reasoning or conclusion, in which a cross-checking word stands ({words}), by round. "
    "Round 1 is the pool, which is shown no references."
)
RIGHT = (
    "Share of right answers among trajectories whose prompt held messages that were all graded wrong: no vote and no "
    "choice among them could be right."
)


def figure_5_left(campaigns: Sequence[Evidence]) -> Exhibit | None:
    """A panel a campaign, by round of its coordinated methods."""
    panels = [
        Panel(
            f"{heading(one.benchmark)}, {one.model}", "round", "trajectories %", [_cross_checking(one)], labelled=True
        )
        for one in campaigns
        if _coordinated(one)
    ]
    about = LEFT.format(words=", ".join(_words()))
    return figure("figure-5-left", "Figure 5, left: cross-checking", about, panels, [one.note for one in campaigns])


def figure_5_right(campaigns: Sequence[Evidence]) -> Exhibit | None:
    """A panel a campaign, by round of its coordinated methods."""
    panels = [
        Panel(f"{heading(one.benchmark)}, {one.model}", "round", "right answers %", [_emergence(one)], labelled=True)
        for one in campaigns
        if _coordinated(one)
    ]
    notes = [one.note for one in campaigns]
    return figure("figure-5-right", "Figure 5, right: emergent correctness", RIGHT, panels, notes)


def _coordinated(evidence: Evidence) -> list[Method]:
    return [method for method in evidence.reasoning() if family(method) == COORDINATED]


def _rounds(methods: Sequence[Method]) -> range:
    return range(2, 1 + max(len(method.rounds) for method in methods))


def _cross_checking(evidence: Evidence) -> Curve:
    methods, counts = _coordinated(evidence), cross_checking_words(evidence)
    rounds: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for problem in evidence.plan.problems:
        rounds[1][problem.id] = [counts[id] for id in evidence.books.pool(problem)]
    for number in _rounds(methods):
        for step in evidence.steps(methods, number):
            rounds[number][step.problem.id].append(counts[step.id])
    points = []
    for number, by_problem in rounds.items():
        shares = [float(np.mean([count > 0 for count in found])) for found in by_problem.values() if found]
        every = [count for found in by_problem.values() for count in found]
        if every:
            with_word = f"{sum(count > 0 for count in every)} of {len(every)}"
            size = f"{with_word} trajectories, {np.mean(every):.2g} words each"
            points.append(_share(number, shares, with_word, size))
    return Curve("with a cross-checking word", points)


def _emergence(evidence: Evidence) -> Curve:
    methods, points = _coordinated(evidence), []
    for number in _rounds(methods):
        rights: dict[str, list[bool]] = defaultdict(list)
        prompts = set()
        for step in evidence.steps(methods, number):
            before = {evidence.books.outcome(id, step.problem) for id in step.references}
            outcome = evidence.books.outcome(step.id, step.problem)
            if before == {"wrong"} and outcome in ("correct", "wrong"):
                rights[step.problem.id].append(outcome == "correct")
                prompts.add(tuple(step.references))
        if rights:
            every = [right for found in rights.values() for right in found]
            right = f"{sum(every)} of {len(every)}"
            size = f"{right} trajectories, {len(prompts)} prompts, {len(rights)} problems"
            points.append(_share(number, [float(np.mean(found)) for found in rights.values()], right, size))
    return Curve("right where all messages were wrong", points)


def _share(number: int, of_problems: Sequence[float], label: str, size: str) -> Point:
    """Mean over problems, in percent."""
    values = np.array(of_problems)
    return Point(number, 100 * float(values.mean()), percent(bootstrap_interval(values)), label, size)


def cross_checking_words(evidence: Evidence) -> dict[str, int]:
    """How many cross-checking words stand in each finished trajectory, by its id. One part's text is held at a time."""
    pattern = "|".join(f"(?:{word})" for word in _words())
    table = trajectories_table(evidence.plan.campaign.store)
    of_problems = pc.field("problem").isin([problem.fingerprint for problem in evidence.plan.problems])
    counts: dict[str, int] = defaultdict(int)
    for part in table.parts(evidence.plan.partition):
        for _, rows in table.scan([part], [*ROW, "reasoning", "content"], of_problems):
            found = [
                pc.count_substring_regex(pc.fill_null(rows[name], pa.scalar("", pa.large_string())), pattern)
                for name in ("reasoning", "content")
            ]
            keys = zip(*(rows[name].to_pylist() for name in ROW), strict=True)
            for key, count in zip(keys, pc.add(*found).to_pylist(), strict=True):
                row = evidence.row(key[0])
                if row and key == tuple(row[name] for name in ROW):
                    counts[key[0]] = count
    return counts


@lru_cache(maxsize=1)
def _words() -> list[str]:
    return list(yaml.safe_load(WORDS.read_text(encoding="utf-8")))
