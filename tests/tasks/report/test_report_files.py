import csv
from collections.abc import Callable
from pathlib import Path

from tasks.report.exhibits.exhibit import Exhibit, Row
from tasks.report.report_files import as_csv, markdown, write_report_files
from tests.tasks.ledger import PRODUCT, SUM, Ledger, with_pool


def test_a_report_is_a_page_markdown_and_each_exhibit_as_csv_and_drawn(
    ledger: Callable[..., Ledger], tmp_path: Path
) -> None:
    here, pool = with_pool(ledger(methods=["low", "sc@4"]))
    for problem in (SUM, PRODUCT):
        here.round("low", problem, 0, 1, pool[problem])
        here.later("low", problem, 0, 2, [("correct", "2", 10)], pool[problem])
    write_report_files([here.evidence()], str(tmp_path / "report"))
    files = {file.name for file in (tmp_path / "report").iterdir()}
    assert files >= {"report.html", "report.md", "table-1.csv", "table-2.csv", "figure-1.csv", "methods.csv"}
    assert files >= {"figure-1.png", "figure-1.svg", "figure-5-left.png", "figure-5-left.svg"}
    text = (tmp_path / "report" / "report.md").read_text()
    assert "| sim | low | 100.0 (0.26) | 100.0–100.0 |" in text
    assert "![Figure 1: accuracy against test-time compute](figure-1.png)" in text
    with (tmp_path / "report" / "table-1.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["method"], float(row["accuracy"])) for row in rows] == [("pass@1", 0.375), ("low", 1.0)]


def exhibit(name: str) -> Exhibit:
    return Exhibit("k", name, name, [name], [Row([name]), Row([name], True)], [{"a": name, "b": -1.5}], [name])


def test_names_are_data_in_markdown_too() -> None:
    text = markdown("t", [exhibit("<b>|x|[y](z)\n# h `c`")])
    assert "\\<b\\>\\|x\\|\\[y\\](z) \\# h \\`c\\`" in text
    assert "<b>" not in text.replace("\\<b\\>", "")
    assert "(quoted)" in text


def test_a_name_that_a_spreadsheet_would_compute_is_kept_from_it() -> None:
    assert as_csv(exhibit("=1+1")) == "a,b\n'=1+1,-1.5\n"
