"""Every method of a campaign on one line, and each compared with the vote on the same problems."""

from collections.abc import Sequence

from tasks.report.exhibits.evidence import Evidence, percent
from tasks.report.exhibits.exhibit import Exhibit, Row, interval
from tasks.report.exhibits.families import VOTE, family
from tasks.report.exhibits.quoted import heading
from tasks.report.statistics import paired
from tasks.report.table_text import cells

HEADINGS = ["method", "problems", "runs", "acc %", "95 % CI", "TTC", "median", "95th", "spent", "ungraded", "failed"]


def all_methods(campaigns: Sequence[Evidence]) -> Exhibit | None:
    """The campaign's table, with percentiles and cost."""
    unit = next((one.plan.campaign.price.unit for one in campaigns if one.plan.campaign.price), None)
    rows: list[Row] = []
    records: list[dict[str, object]] = []
    for one in campaigns:
        for name, result in one.results.items():
            line = result.line
            shown = cells(line)
            percentiles = [f"{line.ttc_p50:,.0f}", f"{line.ttc_p95:,.0f}"]
            cost = [f"{line.cost:,.4g}" if line.cost is not None else "–"] if unit else []
            rows.append(Row([heading(one.benchmark), one.model, *shown[:6], *percentiles, *shown[6:], *cost]))
            numbers = {key: getattr(line, key) for key in line.__slots__ if key != "ci95"}
            lower, upper = line.ci95 or (None, None)
            records.append(
                {"benchmark": one.benchmark, "model": one.model, **numbers, "method": name}
                | {"lower": lower, "upper": upper, "unit": unit}
            )
    about = (
        "TTC: completion tokens a problem of all trajectories that one run used, with its median and 95th percentile. "
        "Spent: those really generated for all runs together."
    )
    headings = ["benchmark", "model", *HEADINGS, *([f"cost, {unit}"] if unit else [])]
    return Exhibit("methods", "All methods", about, headings, rows, records, [one.note for one in campaigns])


def comparisons(campaigns: Sequence[Evidence]) -> Exhibit | None:
    """Each method against the widest vote, or against pass@1 where there is none."""
    rows: list[Row] = []
    records: list[dict[str, object]] = []
    for one in campaigns:
        votes = [result for result in one.results.values() if family(result.method) == VOTE]
        base = max(votes, key=lambda result: result.method.widths[0]) if votes else one.results["pass@1"]
        for name, result in one.results.items():
            found = paired(result.accuracies, base.accuracies)
            if found and name != base.method.name and (family(result.method) or name == "pass@1"):
                ends = found.interval
                shown = [f"{100 * found.difference:+.1f}".replace("-", "−"), interval(percent(ends)), f"{found.p:.2g}"]
                rows.append(
                    Row([heading(one.benchmark), one.model, name, base.method.name, *shown, str(found.problems)])
                )
                records.append(
                    {
                        "benchmark": one.benchmark,
                        "model": one.model,
                        "method": name,
                        "against": base.method.name,
                        "difference": found.difference,
                        "lower": ends[0],
                        "upper": ends[1],
                        "p": found.p,
                        "problems": found.problems,
                    }
                )
    if not rows:
        return None
    about = (
        "Difference in accuracy, in points, problem by problem; p of a two-sided permutation test that changes the "
        "signs of the problems' differences. Many comparisons at once: a p of 0.05 will stand here by chance."
    )
    headings = ["benchmark", "model", "method", "against", "points", "95 % CI", "p", "problems"]
    notes = [one.note for one in campaigns]
    return Exhibit("comparisons", "Compared on the same problems", about, headings, rows, records, notes)
