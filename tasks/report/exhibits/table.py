"""Accuracy and tokens by method and benchmark, the paper's rows beside: the form of Tables 1, 2 and 8."""

from collections.abc import Sequence

from tasks.report.exhibits.evidence import Evidence, percent
from tasks.report.exhibits.exhibit import Exhibit, Row, interval
from tasks.report.exhibits.quoted import heading, quoted


def by_benchmark(
    key: str, title: str, about: str, campaigns: Sequence[Evidence], methods: Sequence[str], paper: str
) -> Exhibit | None:
    """One line a model and method, two columns a benchmark; None where no campaign has a result for any of them.

    Args:
        key: of the exhibit.
        title: of the exhibit.
        about: what it shows, in a sentence.
        campaigns: one benchmark and one model each.
        methods: the lines, in order.
        paper: the table of `paper.yaml` that stands beside.
    """
    measured = [
        (evidence, name)
        for name in methods
        for evidence in campaigns
        if name in evidence.results and evidence.results[name].line.accuracy is not None
    ]
    if not measured:
        return None
    benchmarks = list(dict.fromkeys(evidence.benchmark for evidence, _ in measured))
    lines = list(dict.fromkeys((evidence.model, name) for evidence, name in measured))
    cells = {(evidence.model, name, evidence.benchmark): _cells(evidence, name) for evidence, name in measured}
    rows = [
        Row(
            [row.model, row.method, *(text for name in benchmarks for text in _quoted_cells(row.values.get(name)))],
            True,
        )
        for row in quoted(paper)
        if row.values.keys() & set(benchmarks)
    ]
    rows += [
        Row([model, name, *(text for one in benchmarks for text in cells.get((model, name, one), ["–", "–"]))])
        for model, name in lines
    ]
    headings = [text for name in benchmarks for text in (f"{heading(name)} % (TTC k)", "95 % CI")]
    return Exhibit(
        key,
        title,
        about,
        ["model", "method", *headings],
        rows,
        _records(measured, benchmarks, paper),
        [evidence.note for evidence in campaigns],
    )


def _cells(evidence: Evidence, method: str) -> list[str]:
    line = evidence.results[method].line
    return [f"{100 * (line.accuracy or 0):.1f} ({thousands(line.ttc_tokens)})", interval(percent(line.ci95))]


def _quoted_cells(value: tuple[float, float | None] | None) -> list[str]:
    if value is None:
        return ["–", "–"]
    accuracy, ttc = value
    return [f"{accuracy:.1f}" + (f" ({thousands(ttc)})" if ttc else ""), "quoted"]


def _records(
    measured: Sequence[tuple[Evidence, str]], benchmarks: Sequence[str], paper: str
) -> list[dict[str, object]]:
    from_paper: list[dict[str, object]] = [
        {
            "source": "quoted",
            "model": row.model,
            "method": row.method,
            "benchmark": name,
            "accuracy": round(row.values[name][0] / 100, 6),
            "ttc_tokens": row.values[name][1],
        }
        for row in quoted(paper)
        for name in benchmarks
        if name in row.values
    ]
    own: list[dict[str, object]] = []
    for evidence, name in measured:
        line = evidence.results[name].line
        lower, upper = line.ci95 or (None, None)
        own.append(
            {
                "source": "measured",
                "model": evidence.model,
                "method": name,
                "benchmark": evidence.benchmark,
                "accuracy": line.accuracy,
                "ttc_tokens": line.ttc_tokens,
                "lower": lower,
                "upper": upper,
                "problems": line.problems,
                "runs": line.runs,
                "ungraded": line.ungraded,
                "failed": line.failed,
                "sampler": evidence.plan.sampler,
            }
        )
    return [*own, *from_paper]


def thousands(tokens: float) -> str:
    """Thousands of tokens, as the paper's tables have them."""
    value = tokens / 1000
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}" if value >= 1 else f"{value:.2f}"
