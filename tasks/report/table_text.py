"""The table of a campaign as text."""

from collections.abc import Sequence

from tasks.campaign.plan import Plan
from tasks.report.plain_text import escape_markdown
from tasks.report.report import Line

HEADINGS = ["method", "problems", "runs", "acc %", "95 % CI", "TTC", "spent", "ungraded", "failed"]


def cells(line: Line) -> list[str]:
    """One line of the table: accuracy in percent, tokens a problem."""
    accuracy = "–" if line.accuracy is None else f"{100 * line.accuracy:.1f}"
    interval = "–" if line.ci95 is None else f"{100 * line.ci95[0]:.1f}–{100 * line.ci95[1]:.1f}"
    tokens = [f"{line.ttc_tokens:,.0f}", f"{line.spent_tokens:,.0f}"]
    return [
        line.method,
        str(line.problems),
        str(line.runs),
        accuracy,
        interval,
        *tokens,
        str(line.ungraded),
        str(line.failed),
    ]


def caption(plan: Plan) -> str:
    """What the table is of."""
    campaign = plan.campaign
    size = f"{len(plan.problems)} problems, pool {campaign.pool}"
    return f"{campaign.name}: {campaign.sampler.model}, {size}, grader {campaign.grader_name}"


def as_markdown(plan: Plan, lines: Sequence[Line]) -> str:
    """The table with its caption. Names are data: what Markdown or HTML would read in them is escaped."""
    rows = [HEADINGS, ["---"] * len(HEADINGS), *([escape_markdown(cell) for cell in cells(line)] for line in lines)]
    return "\n".join([f"{escape_markdown(caption(plan))}\n", *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"
