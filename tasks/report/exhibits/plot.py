"""Panels drawn: PNG and SVG files that stand alone, and SVG for a page that may be light or dark."""

import io
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from tasks.report.exhibits.exhibit import Curve, Exhibit, Panel, number

INK = "#010203"
"""Axes and text. No curve has this colour, so a page can replace it by its own ink."""
GREY = "#868c95"
COLOURS = ("#3d84c6", "#cf6f1b", "#2e9e6b", "#a06bd0", "#d2504c", "#1f9eb0", "#b58a00")
MARKERS = "osD^vPX"
WIDTH, HEIGHT = 4.8, 3.9  # inches, a panel
LETTER, LINE = 0.025, 0.06  # of a label, in shares of the axes
SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "pacore",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 12,
    "legend.frameon": False,
    "legend.fontsize": 9,
}


def as_png(exhibit: Exhibit) -> bytes:
    """All panels of an exhibit with its title and notes, on white."""
    return _saved(exhibit, "png")


def as_svg(exhibit: Exhibit) -> bytes:
    """The same as SVG."""
    return _saved(exhibit, "svg")


def inline(panel: Panel) -> str:
    """One panel as an SVG element that takes its ink from the page and scales with its width."""
    with _figure(1) as (drawn, (axes,)):
        _draw(axes, panel)
        text = _bytes(drawn, "svg", transparent=True).decode()
    text = text[text.index("<svg") :]
    text = re.sub(r' (?:width|height)="[\d.]+pt"', "", text, count=2)
    text = re.sub(r'<g id="\w+">', "<g>", text).replace(INK, "currentColor")
    return text.replace("<svg", f'<svg role="img" aria-label="{_attribute(panel.title)}"', 1)


def _saved(exhibit: Exhibit, form: str) -> bytes:
    with _figure(len(exhibit.panels)) as (drawn, every):
        for axes, panel in zip(every, exhibit.panels, strict=True):
            _draw(axes, panel)
        drawn.suptitle(exhibit.title)
        width = int(17 * WIDTH * min(2, len(exhibit.panels)))
        notes = "\n".join(line for note in exhibit.notes for line in textwrap.wrap(note, width))
        drawn.supxlabel(notes, fontsize=7, x=0.02, ha="left")
        return _bytes(drawn, form, facecolor="white")


@contextmanager
def _figure(panels: int) -> Iterator[tuple[Figure, Sequence[Axes]]]:
    """A figure of so many axes, two a row."""
    columns = min(2, panels)
    rows = -(-panels // columns)
    with matplotlib.rc_context(SETTINGS):
        drawn = Figure(figsize=(WIDTH * columns, HEIGHT * rows), layout="constrained")
        yield drawn, [drawn.add_subplot(rows, columns, place + 1) for place in range(panels)]


def _bytes(drawn: Figure, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    metadata = {"Date": None} if form == "svg" else {}
    with warnings.catch_warnings(action="ignore"):  # a letter that the font has not is drawn as a box
        drawn.savefig(buffer, format=form, dpi=200, metadata=metadata, **options)
    return buffer.getvalue()


def _draw(axes: Axes, panel: Panel) -> None:
    axes.set_title(panel.title)
    axes.set_xlabel(panel.x)
    axes.set_ylabel(panel.y)
    axes.grid(color=GREY, alpha=0.25, linewidth=0.6)
    measured = [curve for curve in panel.curves if not curve.quoted and curve.points]
    quoted = [curve for curve in panel.curves if curve.quoted and curve.points]
    for place, curve in enumerate(measured):
        _draw_curve(axes, curve, COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)])
    for place, curve in enumerate(quoted):
        _draw_curve(axes, curve, GREY, MARKERS[place % len(MARKERS)])
    if panel.limit:
        axes.axhline(panel.limit[0], color="#d2504c", linestyle="--", linewidth=1.2, label=panel.limit[1])
    _set_x(axes, panel)
    if panel.percent:
        axes.set_ylim(-3, 103)
    else:
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    if panel.labelled:
        _label(axes, [*measured, *quoted])
    if len(measured) + len(quoted) > 1 or panel.limit:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)


def _draw_curve(axes: Axes, curve: Curve, colour: str, marker: str) -> None:
    xs, ys = [point.x for point in curve.points], [point.y for point in curve.points]
    ends = [point.interval or (point.y, point.y) for point in curve.points]
    errors = [[max(0.0, y - low) for y, (low, _) in zip(ys, ends, strict=True)]]
    errors += [[max(0.0, high - y) for y, (_, high) in zip(ys, ends, strict=True)]]
    axes.errorbar(
        xs,
        ys,
        yerr=None if curve.quoted else errors,
        color=colour,
        ecolor=(colour, 0.45),
        marker=marker,
        markersize=5,
        markerfacecolor="none" if curve.quoted else colour,
        linestyle=("--" if curve.quoted else "-") if curve.joined else "none",
        linewidth=1.4,
        capsize=2,
        label=curve.label + (" (quoted)" if curve.quoted else ""),
    )


def _label(axes: Axes, curves: Sequence[Curve]) -> None:
    """Points' labels, as many as find room: each below and right of its point, above it at the foot of the axes."""
    to_fraction = axes.transScale + axes.transLimits
    taken: list[tuple[float, float, float]] = []
    for curve in curves:
        for point in curve.points:
            left, height = to_fraction.transform((point.x, point.y))
            right = left + LETTER * len(point.label)
            if all(right < start or left > end or abs(height - other) > LINE for start, end, other in taken):
                taken.append((left, right, height))
                offset = (5, -9) if height > LINE else (5, 4)
                axes.annotate(point.label, (point.x, point.y), offset, textcoords="offset points", fontsize=8)


def _set_x(axes: Axes, panel: Panel) -> None:
    values = sorted({point.x for curve in panel.curves for point in curve.points})
    if panel.logarithm is None:
        axes.xaxis.set_major_locator(FixedLocator(values))
        axes.margins(x=0.12)
    elif panel.logarithm == 2:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(_spread(values)))
    else:
        axes.set_xscale("log", base=panel.logarithm)
        wide = values[-1] / values[0] > 100
        axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 3) if wide else (1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))


def _spread(values: Sequence[float]) -> list[float]:
    """Of ascending values those that leave room for each other's labels on an axis of base 2."""
    kept: list[float] = []
    for value in values:
        if not kept or value / kept[-1] >= 1.35:
            kept.append(value)
    return kept


def short(value: float) -> str:
    """A count as an axis has it: 500, 2k, 1.5M."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return number(value)


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
