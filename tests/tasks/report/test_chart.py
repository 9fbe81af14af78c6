from tasks.report.chart import chart
from tasks.report.report import Line


def line(method: str, accuracy: float | None, ttc: float) -> Line:
    return Line(method, 40, 1, accuracy, None, ttc, ttc, ttc, ttc, None, 0, 0)


def test_a_method_further_right_spent_more_and_one_further_up_is_better() -> None:
    drawn = chart([line("pass@1", 0.15, 60), line("low", 0.4, 300), line("high", 0.8, 2500)]).splitlines()
    row = {name: next(n for n, text in enumerate(drawn) if f"● {name}" in text) for name in ("pass@1", "low", "high")}
    column = {name: drawn[row[name]].index("●") for name in row}
    assert row["high"] < row["low"] < row["pass@1"]
    assert column["high"] > column["low"] > column["pass@1"]


def test_nothing_graded_is_said_rather_than_drawn() -> None:
    assert "nothing to draw" in chart([line("low", None, 0)])
