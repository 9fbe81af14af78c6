"""Do again: what a person chose of a campaign, and what is due then."""

from collections.abc import Iterable
from dataclasses import dataclass

from infra.table import Row
from tasks.campaign.campaign_file import CampaignError
from tasks.campaign.method import Method
from tasks.campaign.plan import Plan
from tasks.problem import Problem
from tasks.reasoning.draw import chosen_from_pool, pool_draw
from tasks.report.books import Books
from tasks.store.rounds import round_id


@dataclass(frozen=True, slots=True)
class Choice:
    """Some methods and problems of a campaign, and one round or (None) all. Round 1 is the pool."""

    methods: list[Method]
    round: int | None
    problems: list[Problem]


@dataclass(frozen=True, slots=True)
class Due:
    """What the pool, or one round of one method, lacks: of how many problems and runs (0 for the pool).

    `trajectories` are so many at most: where a prompt comes out as it was, what is stored counts.
    """

    method: str
    round: int
    problems: int
    runs: int
    trajectories: int


def choose(plan: Plan, method: str | None, round: int | None, problem: str | None) -> Choice:
    """A part of a campaign by names; None is all. Raises `CampaignError` for what it has not."""
    methods = [each for each in plan.methods if method in (None, each.name)]
    if not methods:
        known = ", ".join(each.name for each in plan.methods)
        raise CampaignError(f"--method: {method!r} given; {plan.campaign.name} has {known}")
    last = max(len(each.rounds) for each in methods)
    if round is not None and not 1 <= round <= last:
        raise CampaignError(f"--round: {round} given; {method or plan.campaign.name} has rounds 1 to {last}")
    problems = [each for each in plan.problems if problem in (None, each.id)]
    if not problems:
        known = f"{plan.problems[0].id!r}"
        raise CampaignError(
            f"--problem: {problem!r} given; give an id of {plan.campaign.benchmark.path}, such as {known}"
        )
    return Choice(methods, round, problems)


def finished(books: Books, choice: Choice) -> set[str]:
    """Ids of the choice's trajectories that are there."""
    ids: set[str] = set()
    for problem in choice.problems:
        if choice.round in (None, 1):
            ids.update(_pool(books.plan, choice, problem) & books.tokens.keys())
        for row in _rounds(books, choice, problem):
            if row["round"] > 1:
                ids.update(row["trajectories"])
    return ids


def with_holes(books: Books, choice: Choice) -> set[str]:
    """Ids of the choice's rounds that were committed without some of their trajectories, as the quorum allows."""
    return {round_id(row) for problem in choice.problems for row in _rounds(books, choice, problem) if row["missing"]}


def due(books: Books, choice: Choice) -> list[Due]:
    """What the choice lacks, and the later rounds with it."""
    lines, runs = [], range(books.plan.campaign.runs)
    if choice.round in (None, 1):
        missing = [len(_pool(books.plan, choice, problem) - books.tokens.keys()) for problem in choice.problems]
        lines.append(Due("pool", 1, sum(map(bool, missing)), 0, sum(missing)))
    for method in choice.methods:
        ends = {(p, run): len(books.rounds(method, p, run)) for p in choice.problems for run in runs}
        for number, width in enumerate(method.widths, 1):
            if number > 1 and number >= (choice.round or 1) and not method.resamples_pool:
                owed = [pair for pair, end in ends.items() if end < number]
                lines.append(Due(method.name, number, len({p for p, _ in owed}), len(owed), len(owed) * width))
    return [line for line in lines if line.trajectories]


def _pool(plan: Plan, choice: Choice, problem: Problem) -> set[str]:
    """The pool's draws that the choice's methods use; all of them where it is all methods, or one that resamples."""
    draws: Iterable[int] = range(plan.campaign.pool)
    if choice.methods != plan.methods and not any(method.resamples_pool for method in choice.methods):
        runs = range(plan.campaign.runs)
        draws = {
            draw
            for method in choice.methods
            for run in runs
            for draw in chosen_from_pool(problem.fingerprint, run, method.widths[0], plan.campaign.pool)
        }
    return {pool_draw(plan, problem, draw).id for draw in draws}


def _rounds(books: Books, choice: Choice, problem: Problem) -> Iterable[Row]:
    for method in choice.methods:
        for run in range(books.plan.campaign.runs):
            for row in books.rounds(method, problem, run):
                if choice.round in (None, row["round"]):
                    yield row
