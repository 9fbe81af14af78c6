"""How much of a campaign the store holds."""

import math
from dataclasses import dataclass

from tasks.report.books import Books


@dataclass(frozen=True, slots=True)
class Stage:
    """The pool, or one round of one method. Counts are trajectories for the pool, runs for a round.

    `enough`: whether what is there meets the campaign's quorum.
    """

    method: str
    round: int
    done: int
    total: int
    failed: int
    enough: bool


@dataclass(frozen=True, slots=True)
class Status:
    """All stages of a campaign, and how many answers wait for a verdict."""

    stages: list[Stage]
    waiting: int

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return all(stage.enough for stage in self.stages) and not self.waiting

    def what_is_missing(self) -> str:
        """One line."""
        missing = [
            f"{stage.method} round {stage.round}: {stage.total - stage.done} of {stage.total}"
            for stage in self.stages
            if not stage.enough
        ]
        if self.waiting:
            missing.append(f"{self.waiting} answers wait for a verdict")
        return f"incomplete ({'; '.join(missing)}): run the campaign again for what is missing"


def status(books: Books) -> Status:
    """Count what is there."""
    plan = books.plan
    width, quorum = plan.campaign.pool, math.ceil(plan.campaign.quorum * plan.campaign.pool)
    pools = [(problem, books.pool(problem)) for problem in plan.problems]
    there = sum(len(pool) for _, pool in pools)
    enough = all(len(pool) >= quorum for _, pool in pools)
    stages = [Stage("pool", 1, there, width * len(pools), books.failed_in_pool(), enough)]
    answers = [(problem, id) for problem, pool in pools for id in pool]
    runs = [(problem, run) for problem in plan.problems for run in range(plan.campaign.runs)]
    for method in plan.reasoning:
        rounds = {pair: books.rounds(method, *pair) for pair in runs}
        answers += [
            (problem, id) for (problem, _), rows in rounds.items() for row in rows for id in row["trajectories"]
        ]
        for number in range(1, len(method.rounds) + 1):
            rows = [rows[number - 1] for rows in rounds.values() if len(rows) >= number]
            failed = sum(row["missing"] for row in rows)
            stages.append(Stage(method.name, number, len(rows), len(runs), failed, len(rows) == len(runs)))
    return Status(stages, sum(books.outcome(id, problem) is None for problem, id in set(answers)))
