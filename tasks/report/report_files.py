"""The report as files: Markdown, one HTML page, CSV, and every figure as PNG and SVG."""

import csv
import io
from collections.abc import Sequence

from infra.filesystem import FAULTS, open_filesystem, refusal
from tasks.report.exhibits import exhibits
from tasks.report.exhibits.evidence import Evidence
from tasks.report.exhibits.exhibit import Exhibit, Row
from tasks.report.exhibits.plot import as_png, as_svg
from tasks.report.page import as_page
from tasks.report.plain_text import escape_markdown
from tasks.report.walk import turning, walks

WALKS = 2
"""Problems of each turn that the page walks through, for each campaign."""


def write_report_files(campaigns: Sequence[Evidence], folder: str) -> list[str]:
    """Write every exhibit that the campaigns have what it needs for; return the files' names.

    Args:
        campaigns: at least one; their columns and curves stand side by side.
        folder: a path or URI. Files of an earlier report there are replaced.

    Raises:
        StoreError: the store can not be read, or the folder not written.
    """
    shown = exhibits(campaigns)
    title = ", ".join(one.plan.campaign.name for one in campaigns)
    walked = [one for campaign in campaigns for one in walks(campaign.books, turning(campaign.books, WALKS))]
    files = {"report.md": markdown(title, shown).encode(), "report.html": as_page(title, shown, walked).encode()}
    for exhibit in shown:
        files[f"{exhibit.key}.csv"] = as_csv(exhibit).encode()
        if exhibit.panels:
            files[f"{exhibit.key}.png"] = as_png(exhibit)
            files[f"{exhibit.key}.svg"] = as_svg(exhibit)
    filesystem, path = open_filesystem(folder)
    try:
        filesystem.makedirs(path, exist_ok=True)
        for name, data in files.items():
            filesystem.pipe_file(f"{path.rstrip('/')}/{name}", data)
    except FAULTS as error:
        raise refusal("write", folder, error) from error
    return list(files)


def as_csv(exhibit: Exhibit) -> str:
    """One record a line, all of its columns. A text that a spreadsheet would take for a formula gets a quote mark."""
    columns = list(dict.fromkeys(name for record in exhibit.records for name in record))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in record.items()} for record in exhibit.records)
    return buffer.getvalue()


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def markdown(title: str, shown: Sequence[Exhibit]) -> str:
    """All exhibits, their figures as links to the files beside."""
    parts = [f"# {escape_markdown(title)}\n"]
    for exhibit in shown:
        parts.append(f"## {escape_markdown(exhibit.title)}\n\n{escape_markdown(exhibit.about)}\n")
        if exhibit.panels:
            parts.append(f"![{escape_markdown(exhibit.title)}]({exhibit.key}.png)\n")
        rows = [exhibit.headings, ["---"] * len(exhibit.headings), *(_marked(row) for row in exhibit.rows)]
        parts.append("\n".join(f"| {' | '.join(map(escape_markdown, row))} |" for row in rows) + "\n")
        parts.append("\n".join(f"- {escape_markdown(note)}" for note in exhibit.notes) + "\n")
    return "\n".join(parts)


def _marked(row: Row) -> list[str]:
    return [f"{row.cells[0]} (quoted)", *row.cells[1:]] if row.quoted else row.cells
