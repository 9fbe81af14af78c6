"""The table of a campaign: accuracy and test-time compute by method (Section 3.2, Tables 1 and 2)."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tasks.campaign.method import Method, ReadOut, parse_method
from tasks.campaign.price import cost_of_a_token
from tasks.problem import Problem
from tasks.report.books import Books
from tasks.report.columns import columns_of
from tasks.report.statistics import grouped_interval, grouped_mean, pass_at_k
from tasks.report.vote import sc_accuracy, vote

RESAMPLES = 64
SELECTED = re.compile(r"\bbest\W{1,10}(?:response\W{1,4})?([0-9]{1,6})\b", re.IGNORECASE)

Read = Callable[[Books, Problem, list[str]], str | None]
"""What came of a run: the outcome that its last round's trajectories give."""


@dataclass(frozen=True, slots=True)
class Line:
    """One method's line. Accuracy and interval are fractions, None where nothing was graded; tokens are a problem's.

    `accuracy`: mean over problems of the mean over runs; where problems are scored in groups, the mean over groups.
    `ci95`: bootstrap over problems. `ttc_tokens`: completion tokens of all trajectories of all rounds that one run
    used, pooled ones included: its mean, and its median and 95th percentile over problems and runs. `spent_tokens`:
    those really generated for all its runs together, each trajectory once. `cost`: of those, all problems together, in
    GPU-hours or money; None without a price. `ungraded`, `failed`: answers that could not be graded, or are not there;
    they do not enter the accuracy.
    """

    method: str
    problems: int
    runs: int
    accuracy: float | None
    ci95: tuple[float, float] | None
    ttc_tokens: float
    ttc_p50: float
    ttc_p95: float
    spent_tokens: float
    cost: float | None
    ungraded: int
    failed: int


@dataclass(frozen=True, slots=True)
class Result:
    """A method's line, and what it is the mean of.

    `accuracies`: shape (P,), each problem's mean over runs, nan where nothing was graded.
    """

    method: Method
    line: Line
    accuracies: NDArray[np.float64]


@dataclass(slots=True)
class _Tally:
    """What one method did on one problem."""

    scores: list[float] = field(default_factory=list)
    ttc: list[float] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    ungraded: int = 0
    failed: int = 0


def report(books: Books) -> list[Line]:
    """A line for pass@1, each method of the campaign, and pass@pool; the two of pass@k come from the pool."""
    return [result.line for result in results(books)]


def results(books: Books) -> list[Result]:
    """What `report` has lines for, problem by problem too."""
    plan = books.plan
    ends = [parse_method("pass@1"), parse_method(f"pass@{plan.campaign.pool}")]
    methods = {method.name: method for method in [ends[0], *plan.methods, ends[1]]}
    problems = [problem.fingerprint for problem in plan.problems]
    token_cost = cost_of_a_token(plan.campaign.price, plan.campaign.store, plan.partition, problems)
    return [_result(books, method, token_cost) for method in methods.values()]


def accuracies(books: Books, method: Method) -> NDArray[np.float64]:
    """Shape (P,): each problem's mean over runs, nan where nothing was graded. Methods are paired by problem."""
    return _accuracies(_tallies(books, method))


def _accuracies(tallies: list[_Tally]) -> NDArray[np.float64]:
    return np.array([np.mean(tally.scores) if tally.scores else np.nan for tally in tallies])


def _tallies(books: Books, method: Method) -> list[_Tally]:
    if method.resamples_pool:
        return [_from_pool(books, method, problem) for problem in books.plan.problems]
    read_out = _best(books, method) if method.read_out == "best" else READ_OUTS[method.read_out]
    return [_from_runs(books, method, problem, read_out) for problem in books.plan.problems]


def _result(books: Books, method: Method, token_cost: float | None) -> Result:
    tallies = _tallies(books, method)
    of_problems = _accuracies(tallies)
    known = ~np.isnan(of_problems)
    scores = of_problems[known]
    groups = [problem.group for problem, is_known in zip(books.plan.problems, known, strict=True) if is_known]
    ttc = np.concatenate([tally.ttc for tally in tallies]) if any(tally.ttc for tally in tallies) else np.zeros(1)
    problems = len(tallies)
    spent = sum(books.tokens[id] for tally in tallies for id in tally.used)
    line = Line(
        method=method.name,
        problems=problems,
        runs=books.plan.campaign.runs if not method.resamples_pool else RESAMPLES if method.read_out == "vote" else 1,
        accuracy=grouped_mean(scores, groups) if scores.size else None,
        ci95=grouped_interval(scores, groups) if scores.size else None,
        ttc_tokens=float(np.mean([np.mean(tally.ttc) if tally.ttc else 0.0 for tally in tallies])),
        ttc_p50=float(np.percentile(ttc, 50)),
        ttc_p95=float(np.percentile(ttc, 95)),
        spent_tokens=spent / problems,
        cost=None if token_cost is None else spent * token_cost,
        ungraded=sum(tally.ungraded for tally in tallies),
        failed=sum(tally.failed for tally in tallies),
    )
    return Result(method, line, of_problems)


def _from_pool(books: Books, method: Method, problem: Problem) -> _Tally:
    """Self-Consistency by resampling the pool, pass@k by its unbiased estimate."""
    width = method.widths[0]
    pool = books.pool(problem)
    tally = _Tally(used=set(pool), failed=books.plan.campaign.pool - len(pool))
    decided = [id for id in pool if books.outcome(id, problem) in ("correct", "wrong")]
    tally.ungraded = len(pool) - len(decided)
    if pool:
        tally.ttc = [width * float(np.mean([books.tokens[id] for id in pool]))]
    if len(decided) >= width:
        correct = [books.outcome(id, problem) == "correct" for id in decided]
        if method.read_out == "any":
            tally.scores = [pass_at_k(len(decided), sum(correct), width)]
        else:
            answers = [books.answer(id, problem) for id in decided]
            tally.scores = [sc_accuracy(answers, correct, width, RESAMPLES, int(problem.fingerprint[:8], 16))]
    return tally


def _from_runs(books: Books, method: Method, problem: Problem, read_out: Read) -> _Tally:
    """The method's own runs, read out from their last rounds."""
    tally = _Tally()
    for run in range(books.plan.campaign.runs):
        rounds = books.rounds(method, problem, run)
        ids = [id for row in rounds for id in row["trajectories"]]
        tally.used.update(ids)
        if len(rounds) < len(method.rounds):
            tally.failed += 1
            continue
        tally.ttc.append(sum(books.tokens[id] for id in ids))
        match read_out(books, problem, rounds[-1]["trajectories"]):
            case "correct":
                tally.scores.append(1.0)
            case "wrong":
                tally.scores.append(0.0)
            case _:
                tally.ungraded += 1
    return tally


def _last(books: Books, problem: Problem, ids: list[str]) -> str | None:
    return books.outcome(ids[-1], problem)


def _vote(books: Books, problem: Problem, ids: list[str]) -> str | None:
    """The outcome of the majority's answer; a tie goes to the earliest draw. No answer at all is wrong."""
    decided = [id for id in ids if books.outcome(id, problem) in ("correct", "wrong")]
    winner = vote([books.answer(id, problem) for id in decided])
    if winner is None:
        return "wrong" if decided else "ungraded"
    return next(books.outcome(id, problem) for id in decided if books.answer(id, problem) == winner)


def _any(books: Books, problem: Problem, ids: list[str]) -> str | None:
    """Correct where one answer is; wrong where all are; else it is not decided."""
    outcomes = {books.outcome(id, problem) for id in ids}
    return "correct" if "correct" in outcomes else "wrong" if outcomes == {"wrong"} else "ungraded"


def _best(books: Books, method: Method) -> Read:
    """The outcome of the message that the last trajectory names by its number; ungraded where it names none."""
    runs = range(books.plan.campaign.runs)
    rounds = [books.rounds(method, problem, run) for problem in books.plan.problems for run in runs]
    lasts = [row["trajectories"][-1] for rows in rounds if len(rows) == len(method.rounds) for row in rows[-1:]]
    chosen = {
        id: selected(row["message"] or "", row["references"])
        for id, row in columns_of(books, ["message", "references"], lasts).items()
    }

    def read(books: Books, problem: Problem, ids: list[str]) -> str | None:
        best = chosen.get(ids[-1])
        return books.outcome(best, problem) if best else "ungraded"

    return read


def selected(message: str, references: list[str]) -> str | None:
    """Which reference a message names as the best, by its last `Best: n`; None where it names none that is there."""
    named = SELECTED.findall(message)
    number = int(named[-1]) if named else 0
    return references[number - 1] if 1 <= number <= len(references) else None


READ_OUTS: dict[ReadOut, Read] = {
    "last": _last,
    "vote": _vote,
    "any": _any,
}
