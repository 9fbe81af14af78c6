"""The funnel in the form of the paper's Table 7: problems left of each source after each step."""

import json
from collections.abc import Sequence

from infra.filesystem import FAULTS, open_filesystem, refusal
from tasks.curation.sift import Step
from tasks.report.plain_text import escape_markdown


def funnel_table(steps: Sequence[Step]) -> list[list[str]]:
    """Headings, a line a source, the total: problems left after each step, then the share of those collected."""
    lines = [["source", *(step.name for step in steps), "left %"]]
    for source in steps[0].left:
        lines.append(_line(source, [step.left[source] for step in steps]))
    return [*lines, _line("total", [step.left.total() for step in steps])]


def _line(name: str, left: list[int]) -> list[str]:
    return [name, *(f"{count:,}" for count in left), f"{100 * left[-1] / left[0]:.2f}"]


def dropped_lines(steps: Sequence[Step]) -> list[str]:
    """One line a step that dropped anything: why, the most frequent first."""
    return [
        f"{step.name} dropped {step.dropped.total():,}: "
        + ", ".join(f"{reason} {count:,}" for reason, count in step.dropped.most_common())
        for step in steps
        if step.dropped
    ]


def write_funnel(folder: str, steps: Sequence[Step]) -> None:
    """Write `funnel.json` and `funnel.md`. Raises `StoreError`."""
    headings, *lines = [[escape_markdown(cell) for cell in line] for line in funnel_table(steps)]
    rows = [headings, ["---"] * len(headings), *lines]
    said = [escape_markdown(line) for line in dropped_lines(steps)]
    text = "\n".join([*(f"| {' | '.join(row)} |" for row in rows), "", *(f"- {line}" for line in said)]) + "\n"
    counts = [{"name": step.name, "left": step.left, "dropped": step.dropped} for step in steps]
    filesystem, place = open_filesystem(folder)
    try:
        filesystem.pipe_file(f"{place}/funnel.json", json.dumps(counts, indent=1).encode())
        filesystem.pipe_file(f"{place}/funnel.md", text.encode())
    except FAULTS as error:
        raise refusal("write", folder, error) from error
