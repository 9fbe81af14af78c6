"""One run's way through its rounds, to be looked at: what was said, what was right, where the answer turned."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow.compute as pc

from infra.table import Row
from tasks.campaign.campaign_file import CampaignError
from tasks.campaign.method import Method
from tasks.campaign.quote import quoted
from tasks.problem import Problem
from tasks.report.books import Books
from tasks.report.columns import columns_of
from tasks.report.vote import vote
from tasks.store.tables import verdicts_table

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
    raise CampaignError(f"no problem {quoted(id)} in {books.plan.campaign.benchmark.path}; there are {few}, …")


Place = tuple[Method, Problem, int]
"""A method, a problem and a run (from 0)."""


def walks(books: Books, places: Sequence[Place]) -> list[Walk]:
    """Read runs from the store, all at once: the text of a large store is not read for each.

    Raises:
        CampaignError: the store holds no round of one.
        StoreError: the store can not be read.
    """
    rounds = [[row["trajectories"] for row in books.rounds(*place)] for place in places]
    for (method, problem, run), found in zip(places, rounds, strict=True):
        if not found:
            raise CampaignError(
                f"no round of {method.name}, run {run}, on {quoted(problem.id)} is stored; run the campaign, "
                "or see pacore status"
            )
    ids = {id for found in rounds for round in found for id in round}
    rows, reasons = columns_of(books, COLUMNS, ids), _reasons(books, ids)
    return [
        Walk(problem, method.name, run, _told(books, problem, found, rows, reasons))
        for (method, problem, run), found in zip(places, rounds, strict=True)
    ]


def _told(
    books: Books, problem: Problem, rounds: list[list[str]], rows: dict[str, Row], reasons: dict[tuple[str, str], str]
) -> list[list[Told]]:
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
                    reason=reasons.get((id, problem.truth), ""),
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
    return told


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


def turning(books: Books, each: int) -> list[Place]:
    """The first runs, `each` of every turn, in which the last trajectory turned the answer; one run a problem."""
    found: dict[Turn, list[Place]] = {turn: [] for turn in TURNS}
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


def _reasons(books: Books, ids: set[str]) -> dict[tuple[str, str], str]:
    """What the grader said, by trajectory and fingerprint of the ground truth."""
    campaign = books.plan.campaign
    where = pc.field("id").isin(list(ids)) & (pc.field("grader") == campaign.grader_name)
    columns = ["id", "generation", "truth", "reason"]
    rows = verdicts_table(campaign.store).read(books.plan.partition, columns, where).to_pylist()
    return {
        (row["id"], row["truth"]): row["reason"] or ""
        for row in rows
        if row["id"] in books.tokens and row["generation"] == books.generation(row["id"])
    }
