"""The books of a campaign: what its store holds, as counts and verdicts. Every figure in a report comes from here."""

import pyarrow.compute as pc

from infra.table import Row
from tasks.fingerprint import trajectory_id
from tasks.method import Method
from tasks.plan import Plan
from tasks.problem import Problem
from tasks.tables import rounds_table, trajectories_table, verdicts_table


class Books:
    """Tokens, verdicts and rounds of a plan's problems, without any text of the model but normalised answers."""

    def __init__(self, plan: Plan) -> None:
        """Read the store. Raises `StoreError`."""
        self.plan = plan
        self.tokens: dict[str, int] = {}
        self.failed: dict[str, str] = {}
        self._read_trajectories()
        self._outcomes = self._read_verdicts()
        self._rounds = self._read_rounds()

    def pool(self, problem: Problem) -> list[str]:
        """Ids of the problem's finished pool, in the order of their draws."""
        plan = self.plan
        ids = [trajectory_id(plan.sampler, problem.fingerprint, draw) for draw in range(plan.campaign.pool)]
        return [id for id in ids if id in self.tokens]

    def failed_in_pool(self) -> int:
        """Pool draws of which only failures are stored."""
        plan = self.plan
        draws = range(plan.campaign.pool)
        return sum(
            trajectory_id(plan.sampler, problem.fingerprint, draw) in self.failed
            for problem in plan.problems
            for draw in draws
        )

    def rounds(self, method: Method, problem: Problem, run: int) -> list[Row]:
        """The committed rounds of a run, in order."""
        recipe = self.plan.recipes[method.name]
        rows = (
            self._rounds.get((recipe, problem.fingerprint, run, number)) for number in range(1, len(method.rounds) + 1)
        )
        return [row for row in rows if row]

    def outcome(self, id: str, problem: Problem) -> str | None:
        """Correct, wrong or ungraded; None when it was not graded yet."""
        return self._outcomes.get((id, problem.truth), (None, None))[0]

    def answer(self, id: str, problem: Problem) -> str | None:
        """The normalised answer, None where there is none."""
        return self._outcomes.get((id, problem.truth), (None, None))[1]

    def _read_trajectories(self) -> None:
        table = trajectories_table(self.plan.campaign.store)
        columns = ["id", "completion_tokens", "error"]
        rows = table.read(self.plan.partition, columns, self._of_problems())
        for id, tokens, error in zip(*(rows[name].to_pylist() for name in columns), strict=True):
            if error is None:
                self.tokens[id] = tokens
            else:
                self.failed[id] = error

    def _read_verdicts(self) -> dict[tuple[str, str], tuple[str, str | None]]:
        table = verdicts_table(self.plan.campaign.store)
        columns = ["id", "truth", "outcome", "answer"]
        of_grader = pc.field("grader") == self.plan.campaign.grader
        rows = table.read(self.plan.partition, columns, self._of_problems() & of_grader)
        every = zip(*(rows[name].to_pylist() for name in columns), strict=True)
        return {(id, truth): (outcome, answer) for id, truth, outcome, answer in every}

    def _read_rounds(self) -> dict[tuple[str, str, int, int], Row]:
        table = rounds_table(self.plan.campaign.store)
        of_recipes = pc.field("recipe").isin(list(self.plan.recipes.values()))
        rows = table.read(self.plan.partition, table.schema.names, of_recipes & self._of_problems())
        return {(row["recipe"], row["problem"], row["run"], row["round"]): row for row in rows.to_pylist()}

    def _of_problems(self) -> pc.Expression:
        return pc.field("problem").isin([problem.fingerprint for problem in self.plan.problems])
