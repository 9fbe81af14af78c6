"""What an exhibit is: a table, perhaps with panels to draw, that says what it is of. Text and numbers alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table as it is shown. `quoted`: from the paper, not measured."""

    cells: list[str]
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a curve; `interval` of 95 %; `label` beside it; `size` is what it was taken over."""

    x: float
    y: float
    interval: Interval | None = None
    label: str = ""
    size: str = ""


@dataclass(frozen=True, slots=True)
class Curve:
    """Points that belong together. `joined`: with a line between them. `quoted`: from the paper, not measured."""

    label: str
    points: list[Point]
    joined: bool = True
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes. `percent`: y from 0 to 100. `logarithm`: the x axis's base, None for a linear one.

    `limit`: a horizontal line, with what it is. `labelled`: points carry their labels.
    """

    title: str
    x: str
    y: str
    curves: list[Curve]
    percent: bool = True
    logarithm: int | None = None
    limit: tuple[float, str] | None = None
    labelled: bool = False


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A table or figure. `records` is what the CSV file holds: numbers in full, fractions, tokens."""

    key: str
    title: str
    about: str
    headings: list[str]
    rows: list[Row]
    records: list[dict[str, object]]
    notes: list[str]
    panels: list[Panel] = field(default_factory=list)

    @property
    def words(self) -> set[int]:
        """The columns of words, which are set to the left."""
        names = {"benchmark", "model", "method", "against", "panel", "curve", "point", "of"}
        return {place for place, heading in enumerate(self.headings) if heading in names}


def figure(key: str, title: str, about: str, panels: Sequence[Panel], notes: list[str]) -> Exhibit | None:
    """An exhibit that is drawn: its table and its records are what the panels show. None where nothing is to show."""
    shown = [panel for panel in panels if any(curve.points for curve in panel.curves)]
    if not shown:
        return None
    records: list[dict[str, object]] = [
        {
            "panel": panel.title,
            "x is": panel.x,
            "y is": panel.y,
            "curve": curve.label,
            "source": "quoted" if curve.quoted else "measured",
            "label": point.label,
            "x": point.x,
            "y": point.y,
            "lower": point.interval and point.interval[0],
            "upper": point.interval and point.interval[1],
            "of": point.size,
        }
        for panel in shown
        for curve in panel.curves
        for point in curve.points
    ]
    rows = [
        Row(
            [
                f"{panel.title}: {panel.y}",
                curve.label + (" (quoted)" if curve.quoted else ""),
                point.label,
                number(point.x),
                number(point.y),
                interval(point.interval),
                point.size,
            ],
            curve.quoted,
        )
        for panel in shown
        for curve in panel.curves
        for point in curve.points
    ]
    headings = ["panel", "curve", "point", shown[0].x, "value", "95 % CI", "of"]
    return Exhibit(key, title, about, headings, rows, records, notes, shown)


def interval(ends: Interval | None) -> str:
    """Both ends to one decimal."""
    if ends is None:
        return "–"
    return f"{ends[0]:.1f}{' to ' if ends[0] < 0 else '–'}{ends[1]:.1f}".replace("-", "−")


def number(value: float) -> str:
    """Three significant digits, or whole from a hundred on."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
