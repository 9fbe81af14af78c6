"""The books of a campaign: what its store holds, as counts and verdicts. Every figure in a report comes from here."""

from collections.abc import Iterable

import pyarrow.compute as pc

from infra.table import Row
from tasks.campaign.method import Method
from tasks.campaign.plan import Plan
from tasks.fingerprint import trajectory_id
from tasks.problem import Problem
from tasks.store.reruns import Reruns
from tasks.store.rounds import Rounds
from tasks.store.tables import rounds_table, trajectories_table, verdicts_table


class Books:
    """Tokens, verdicts and rounds of a plan's problems, without any text of the model but normalised answers."""

    def __init__(self, plan: Plan, supposing: Iterable[str] = ()) -> None:
        """Read the store. Raises `StoreError`.

        Args:
            plan: what is asked for.
            supposing: trajectories that are taken as asked for again, though nobody did.
        """
        self.plan = plan
        self.tokens: dict[str, int] = {}
        self.failed: dict[str, str] = {}
        self._generations: dict[str, int] = {}
        rows = self._trajectories()
        self.reruns = Reruns(plan.campaign.store, plan.partition)
        self.reruns.refresh()
        self.reruns.suppose(supposing)
        self._take_in(rows)
        self._outcomes = self._read_verdicts()
        table = rounds_table(plan.campaign.store)
        self._rounds = Rounds(table, plan.partition, plan.recipes.values(), self.reruns, lambda id: id in self.tokens)
        self._rounds.refresh()

    def pool(self, problem: Problem) -> list[str]:
        """Ids of the problem's finished pool, in the order of their draws."""
        plan = self.plan
        ids = [trajectory_id(plan.sampler, problem.fingerprint, draw) for draw in range(plan.campaign.pool)]
        return [id for id in ids if id in self.tokens]

    def generation(self, id: str) -> int:
        """The generation of a finished trajectory that counts."""
        return self._generations[id]

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

    def _trajectories(self) -> list[tuple[str, int, int, str | None]]:
        table = trajectories_table(self.plan.campaign.store)
        columns = ["id", "generation", "completion_tokens", "error"]
        rows = table.read(self.plan.partition, columns, self._of_problems())
        return list(zip(*(rows[name].to_pylist() for name in columns), strict=True))

    def _take_in(self, rows: list[tuple[str, int, int, str | None]]) -> None:
        """Of the generations of a trajectory that were not superseded the newest finished one counts."""
        counting = sorted(row for row in rows if row[1] >= self.reruns.generation(row[0]))
        for id, generation, tokens, error in counting:
            if error is None:
                self.tokens[id] = tokens
                self._generations[id] = generation
        self.failed.update({id: error for id, _, _, error in counting if error and id not in self.tokens})

    def _read_verdicts(self) -> dict[tuple[str, str], tuple[str, str | None]]:
        table = verdicts_table(self.plan.campaign.store)
        columns = ["id", "generation", "truth", "outcome", "answer"]
        of_grader = pc.field("grader") == self.plan.campaign.grader_name
        rows = table.read(self.plan.partition, columns, self._of_problems() & of_grader)
        every = zip(*(rows[name].to_pylist() for name in columns), strict=True)
        return {
            (id, truth): (outcome, answer)
            for id, generation, truth, outcome, answer in every
            if generation == self._generations.get(id)
        }

    def _of_problems(self) -> pc.Expression:
        return pc.field("problem").isin([problem.fingerprint for problem in self.plan.problems])
