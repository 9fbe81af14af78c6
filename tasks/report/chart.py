"""Accuracy against test-time compute, drawn in characters (the form of Figure 1)."""

import math
from collections.abc import Sequence

import plotext

from tasks.report.report import Line


def chart(lines: Sequence[Line], width: int = 78, height: int = 20) -> str:
    """One labelled point a method; TTC in tokens a problem on a logarithmic axis, accuracy in percent."""
    points = [(line.method, line.ttc_tokens, 100 * line.accuracy) for line in lines if line.accuracy is not None]
    points = [(method, ttc, accuracy) for method, ttc, accuracy in points if ttc > 0]
    if not points:
        return "nothing to draw: no method has an accuracy and tokens yet"
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(width, height)
    exponents = [math.log10(ttc) for _, ttc, _ in points]
    low, high = min(exponents) - 0.2, max(exponents) + 0.6
    ticks = [step * 10**power for power in range(math.floor(low), math.ceil(high)) for step in (1, 2, 5)]
    plotext.xlim(low, high)
    plotext.xticks([math.log10(tick) for tick in ticks], [f"{tick:,.0f}" for tick in ticks])
    plotext.ylim(0, 100)
    plotext.xlabel("TTC: completion tokens a problem")
    plotext.ylabel("accuracy %")
    for (method, _, accuracy), exponent in zip(points, exponents, strict=True):
        plotext.text(f"● {method}", exponent, accuracy, alignment="left")
    return str(plotext.uncolorize(plotext.build())).rstrip()
