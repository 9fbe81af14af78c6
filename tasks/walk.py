"""One run's way through its rounds, to be looked at: what was said, what was right, where the answer turned."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pyarrow.compute as pc

from tasks.books import Books
from tasks.campaign_file import CampaignError
from tasks.columns import columns_of
from tasks.method import Method
from tasks.problem import Problem
from tasks.tables import verdicts_table
from tasks.vote import vote

Turn = Literal["wrong to right", "all wrong to right", "right to wrong"]
"""From the vote over the messages that the last trajectory was shown to its own answer; `all wrong`: every message."""
TURNS: tuple[Turn, ...] = ("all wrong to right", "wrong to right", "right to wrong")

COLUMNS = ["reasoning", "content", "message", "finish_reason", "completion_tokens", "prompt_tokens", "references"]


@dataclass(frozen=True, slots=True)
class Seen:
    """A message in a prompt: its `number` there, as `Reference n:`, and which trajectory of the last round it is of.

    `trajectory` is 0 where an equal prompt was first asked for by another run: the message is then that run's.
    """

    number: int
    trajectory: int
    outcome: str | None


@dataclass(frozen=True, slots=True)
class Told:
    """One trajectory. `turn`: what its answer did with the vote over the messages it was shown, None for nothing."""

    number: int
    outcome: str | None
    answer: str | None
    reason: str
    message: str
    reasoning: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    seen: list[Seen]
    turn: Turn | None


@dataclass(frozen=True, slots=True)
class Walk:
    """A problem, and the rounds that one run of a method took it through. Runs are numbered from 0."""

    problem: Problem
    method: str
    run: int
    rounds: list[list[Told]]

    @property
    def turn(self) -> Turn | None:
        """That of the last trajectory."""
        return self.rounds[-1][-1].turn


def find_problem(books: Books, id: str) -> Problem:
    """The problem of that id. Raises `CampaignError`."""
    for problem in books.plan.problems:
        if problem.id == id:
            return problem
    few = ", ".join(problem.id for problem in books.plan.problems[:5])
    raise CampaignError(f"no problem {id!r} in {books.plan.campaign.benchmark.path}; there are {few}, …")


def walk(books: Books, method: Method, problem: Problem, run: int) -> Walk:
    """Read a run from the store.

    Raises:
        CampaignError: the store holds no round of it.
        StoreError: the store can not be read.
    """
    rounds = [row["trajectories"] for row in books.rounds(method, problem, run)]
    if not rounds:
        raise CampaignError(
            f"no round of {method.name}, run {run}, on {problem.id!r} is stored; run the campaign, or see pacore status"
        )
    ids = [id for round in rounds for id in round]
    rows = columns_of(books, COLUMNS, ids)
    reasons = _reasons(books, problem, ids)
    told: list[list[Told]] = []
    before: list[str] = []
    for round in rounds:
        place = {id: number for number, id in enumerate(before, 1)}
        told.append([])
        for number, id in enumerate(round, 1):
            row = rows[id]
            seen = [
                Seen(n, place.get(reference, 0), books.outcome(reference, problem))
                for n, reference in enumerate(row["references"], 1)
            ]
            told[-1].append(
                Told(
                    number=number,
                    outcome=books.outcome(id, problem),
                    answer=books.answer(id, problem),
                    reason=reasons.get(id, ""),
                    message=row["message"] or "",
                    reasoning=row["reasoning"] or "",
                    finish_reason=row["finish_reason"],
                    prompt_tokens=row["prompt_tokens"],
                    completion_tokens=row["completion_tokens"],
                    seen=seen,
                    turn=turn_of(books, problem, row["references"], id),
                )
            )
        before = round
    return Walk(problem, method.name, run, told)


def turn_of(books: Books, problem: Problem, references: list[str], id: str) -> Turn | None:
    """How a trajectory's answer differs from the vote over the messages it was shown; None where both are alike."""
    outcomes = [books.outcome(reference, problem) for reference in references]
    after = books.outcome(id, problem)
    if not references or after not in ("correct", "wrong"):
        return None
    if set(outcomes) == {"wrong"}:
        return "all wrong to right" if after == "correct" else None
    decided = [reference for reference in references if books.outcome(reference, problem) in ("correct", "wrong")]
    winner = vote([books.answer(reference, problem) for reference in decided])
    right = winner is not None and any(
        books.answer(reference, problem) == winner and books.outcome(reference, problem) == "correct"
        for reference in decided
    )
    if right == (after == "correct"):
        return None
    return "right to wrong" if right else "wrong to right"


def turning(books: Books, each: int) -> list[tuple[Method, Problem, int]]:
    """The first runs, `each` of every turn, in which the last trajectory turned the answer; one run a problem."""
    found: dict[Turn, list[tuple[Method, Problem, int]]] = {turn: [] for turn in TURNS}
    taken: set[str] = set()
    for method, problem, run, id, references in _last_steps(books):
        turn = turn_of(books, problem, references, id)
        if turn and len(found[turn]) < each and problem.id not in taken:
            found[turn].append((method, problem, run))
            taken.add(problem.id)
    return [place for turn in TURNS for place in found[turn]]


def _last_steps(books: Books) -> Iterator[tuple[Method, Problem, int, str, list[str]]]:
    """The last trajectory of every complete run that ends on one, the methods by turns."""
    methods = [method for method in books.plan.reasoning if method.read_out == "last" and len(method.rounds) > 1]
    rows = columns_of(books, ["references"])
    for run in range(books.plan.campaign.runs):
        for problem in books.plan.problems:
            for method in methods:
                rounds = books.rounds(method, problem, run)
                if len(rounds) == len(method.rounds) and (id := rounds[-1]["trajectories"][-1]) in rows:
                    yield method, problem, run, id, rows[id]["references"]


def _reasons(books: Books, problem: Problem, ids: list[str]) -> dict[str, str]:
    """What the grader said of each trajectory."""
    campaign = books.plan.campaign
    where = (
        pc.field("id").isin(ids) & (pc.field("grader") == campaign.grader_name) & (pc.field("truth") == problem.truth)
    )
    rows = verdicts_table(campaign.store).read(books.plan.partition, ["id", "generation", "reason"], where).to_pylist()
    return {
        row["id"]: row["reason"] or ""
        for row in rows
        if row["id"] in books.tokens and row["generation"] == books.generation(row["id"])
    }
