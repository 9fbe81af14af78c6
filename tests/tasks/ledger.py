"""A store written by hand: two problems, four pooled draws each, so that every figure can be worked out."""

from collections.abc import Sequence
from datetime import UTC, datetime

from infra.engine import Completion
from infra.table import Row
from tasks.campaign.plan import Plan
from tasks.fingerprint import draw_number, trajectory_id
from tasks.reasoning.draw import Draw, pool_draw
from tasks.reasoning.generate import trajectory_row
from tasks.report.books import Books
from tasks.report.exhibits.evidence import Evidence
from tasks.report.report import Line, report
from tasks.store.tables import rounds_table, trajectories_table, verdicts_table

SUM, PRODUCT = 0, 1
POOL = {
    SUM: [("correct", "2", 10), ("correct", "2", 20), ("wrong", "3", 30), ("wrong", "4", 40)],
    PRODUCT: [("wrong", "5", 100), ("wrong", "5", 100), ("correct", "6", 100), ("wrong", "5", 100)],
}
Made = tuple[str, str | None, int]
"""What a trajectory came to: outcome (or `failed`, or `owed`: no verdict yet), answer, completion tokens."""


class Ledger:
    """Writes a store by hand."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.trajectories: list[Row] = []
        self.rounds: list[Row] = []
        self.verdicts: list[Row] = []
        self.reasoning: str | None = None

    def made(self, draw: Draw, problem: int, what: Made) -> str:
        outcome, answer, tokens = what
        error = "Stalled: …" if outcome == "failed" else None
        prompt, started = 1 + 100 * len(draw.references), datetime(2026, 1, 1, tzinfo=UTC)
        done = Completion(self.reasoning, answer, "stop", prompt, 0, tokens, 0, "test", started, 1.0, 1)
        self.trajectories.append(trajectory_row("sim", draw, done, error))
        graded = {"grader": "exact", "truth": self.plan.problems[problem].truth, "answer": answer, "reason": ""}
        if outcome not in ("failed", "owed"):
            whose = {"id": draw.id, "problem": draw.problem, "undecided": outcome == "ungraded", "outcome": outcome}
            self.verdicts.append({**whose, **graded})
        return draw.id

    def pool(self, problem: int, made: Sequence[Made]) -> list[str]:
        whose = self.plan.problems[problem]
        return [self.made(pool_draw(self.plan, whose, n), problem, what) for n, what in enumerate(made)]

    def round(self, method: str, problem: int, run: int, number: int, ids: list[str], missing: int = 0) -> None:
        whose = self.plan.problems[problem]
        key = {"recipe": self.plan.recipes[method], "problem": whose.fingerprint, "run": run, "round": number}
        rest = {"method": method, "problem_id": whose.id, "width": len(ids) + missing, "missing": missing}
        self.rounds.append({**key, **rest, "trajectories": ids})

    def later(
        self, method: str, problem: int, run: int, number: int, made: Sequence[Made], references: Sequence[str] = ()
    ) -> list[str]:
        """A round after the first, and what every prompt of it showed."""
        ids = []
        for k, what in enumerate(made):
            prompt = f"{method}/{problem}/{run}/{number}"
            id = trajectory_id(self.plan.sampler, prompt, draw_number(number, run, len(made), k))
            whose = self.plan.problems[problem].fingerprint
            ids.append(self.made(Draw(id, whose, prompt, number, k, [], tuple(references)), problem, what))
        self.round(method, problem, run, number, ids)
        return ids

    def lines(self) -> dict[str, Line]:
        """The report, by method."""
        return {line.method: line for line in report(self.books())}

    def books(self) -> Books:
        """Store all that was written, and read it back."""
        tables = [trajectories_table, rounds_table, verdicts_table]
        for table, rows in zip(tables, [self.trajectories, self.rounds, self.verdicts], strict=True):
            if rows:
                table(self.plan.campaign.store).commit(self.plan.partition, rows)
        return Books(self.plan)

    def evidence(self) -> Evidence:
        """What the exhibits are made from."""
        return Evidence(self.books())


def with_pool(ledger: Ledger) -> tuple[Ledger, dict[int, list[str]]]:
    return ledger, {problem: ledger.pool(problem, made) for problem, made in POOL.items()}
