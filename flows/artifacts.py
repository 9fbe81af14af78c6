"""A campaign's table and its figure as Prefect artifacts: what the UI shows of a run that has ended."""

import asyncio
from base64 import b64encode

from prefect.artifacts import acreate_image_artifact, acreate_markdown_artifact

from tasks.report.exhibits.evidence import Evidence
from tasks.report.exhibits.figure_1 import figure_1
from tasks.report.table_text import as_markdown


async def report_artifacts(evidence: Evidence) -> None:
    """`report`: the table. `figure`: accuracy against test-time compute, where anything is graded."""
    name = evidence.plan.campaign.name
    await acreate_markdown_artifact(as_markdown(evidence.plan, evidence.lines), key="report", description=name)
    if picture := await asyncio.to_thread(_figure, evidence):
        url = f"data:image/png;base64,{b64encode(picture).decode()}"
        await acreate_image_artifact(url, key="figure", description=name)


def _figure(evidence: Evidence) -> bytes | None:
    from tasks.report.exhibits.plot import as_png  # matplotlib takes a second to import

    exhibit = figure_1([evidence])
    return as_png(exhibit) if exhibit else None
