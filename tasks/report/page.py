"""The report as one HTML page: it loads nothing, runs no script, and shows what a model wrote as text."""

from collections.abc import Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from tasks.report.exhibits.exhibit import Exhibit
from tasks.report.exhibits.plot import inline
from tasks.report.plain_text import cut, printable
from tasks.report.walk import Walk
from tasks.report.walk_text import MARKS, round_heading

PAGE = Path(__file__).with_name("page.html.jinja")


def as_page(title: str, exhibits: Sequence[Exhibit], walks: Sequence[Walk], notes: Sequence[str] = ()) -> str:
    """The page; it reads on a phone and in the dark, and works without the store.

    Args:
        title: of the page.
        exhibits: in order.
        walks: runs to be walked through, each on a problem of its own.
        notes: what the whole is of.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, finalize=_as_data)
    environment.globals.update(
        inline=lambda panel: Markup(inline(panel)),  # noqa: S704  (drawn here; matplotlib escapes its labels)
        cut=cut,
        marks=MARKS,
        round_heading=round_heading,
    )
    template = environment.from_string(PAGE.read_text(encoding="utf-8"))
    return template.render(title=title, exhibits=exhibits, walks=walks, notes=notes)


def _as_data(value: object) -> object:
    """What a template prints, but for markup made here."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
