"""What one campaign brings to the exhibits: its books, its results, and the columns that only exhibits need."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from infra.table import Row
from tasks.campaign.method import Method
from tasks.campaign.record import read_window
from tasks.problem import Problem
from tasks.report.books import Books
from tasks.report.columns import columns_of
from tasks.report.exhibits.exhibit import Interval, Point
from tasks.report.plain_text import printable
from tasks.report.report import Line, Result, results


@dataclass(frozen=True, slots=True)
class Step:
    """One trajectory of a round after the first, and those whose messages stand in its prompt."""

    id: str
    problem: Problem
    references: list[str]


class Evidence:
    """A campaign's results by method, read from its store once."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.plan = books.plan

    @property
    def model(self) -> str:
        """The sampler's model."""
        return printable(self.plan.campaign.sampler.model)

    @property
    def benchmark(self) -> str:
        """The benchmark's name: that of a file without its folder and ending."""
        return printable(self.plan.campaign.benchmark.known_as)

    @cached_property
    def results(self) -> dict[str, Result]:
        """By method: pass@1 first, then as the campaign has them."""
        return {result.method.name: result for result in results(self.books)}

    @property
    def lines(self) -> list[Line]:
        """The table of the campaign."""
        return [result.line for result in self.results.values()]

    @cached_property
    def note(self) -> str:
        """n, runs, interval, date, sampler: what every figure is of."""
        campaign, sampler = self.plan.campaign, self.plan.campaign.sampler
        settings = [
            f"{name} {value}"
            for name, value in sampler.model_dump(mode="json", exclude_none=True).items()
            if value and name != "model"
        ]
        return (
            f"{self.benchmark}: {len(self.plan.problems)} problems, {campaign.runs} "
            f"run{'s' if campaign.runs > 1 else ''} of each method, pool {campaign.pool}, "
            f"grader {campaign.grader_name}; 95 % intervals by bootstrap over problems; generated {self._dates}; "
            f"sampler {self.model}, {printable(', '.join(settings))} ({self.plan.sampler[:8]})"
        )

    @property
    def _dates(self) -> str:
        days = sorted({row["started"].date().isoformat() for row in self._columns.values() if row["started"]})
        return "never" if not days else days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"

    @cached_property
    def window(self) -> int | None:
        """The model's window in tokens, as the engine stated it; None where no run asked."""
        return read_window(self.plan)

    def reasoning(self) -> list[Method]:
        """The methods with runs of their own that have a result."""
        return [method for method in self.plan.reasoning if self.results[method.name].line.accuracy is not None]

    def point(self, method: str, x: float) -> Point | None:
        """A method's accuracy in percent over `x`."""
        line, pool = self.results[method].line, f"pool of {self.plan.campaign.pool}"
        if line.accuracy is None:
            return None
        over = pool if self.results[method].method.resamples_pool else f"{line.runs} run{'s' if line.runs > 1 else ''}"
        size = f"{line.problems} problems, {over}" + (f", {line.failed} failed" if line.failed else "")
        return Point(x, 100 * line.accuracy, percent(line.ci95), method, size)

    def steps(self, methods: Iterable[Method], number: int) -> Iterator[Step]:
        """The trajectories of round `number` (from 2) of all runs of some methods, each once."""
        seen = set()
        for method in methods:
            for problem in self.plan.problems:
                for run in range(self.plan.campaign.runs):
                    rounds = self.books.rounds(method, problem, run)
                    for id in rounds[number - 1]["trajectories"] if len(rounds) >= number else []:
                        if id not in seen and id in self._columns:
                            seen.add(id)
                            yield Step(id, problem, self._columns[id]["references"])

    def row(self, id: str) -> Row | None:
        """Which row of a finished trajectory counts: its `generation`, `started` and `seconds`, and what came of it."""
        return self._columns.get(id)

    def prompt_tokens(self, id: str) -> int:
        """Tokens of the prompt that a trajectory was given."""
        return int(self._columns[id]["prompt_tokens"])

    @cached_property
    def _columns(self) -> dict[str, Row]:
        return columns_of(self.books, ["references", "prompt_tokens", "started", "seconds"])


def percent(ends: Interval | None) -> Interval | None:
    """Fractions as percentages."""
    return ends and (100 * ends[0], 100 * ends[1])
