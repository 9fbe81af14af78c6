"""A report of the shipped model in a real browser: every exhibit is there, on a desk, on a phone, in the dark."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.contract.conftest import absent

SMOKE = Path(__file__).parents[2] / "flows/campaigns/smoke.yaml"
EXHIBITS = {
    "table-1",
    "table-2",
    "table-8",
    "figure-1",
    "figure-4-left",
    "figure-4-right",
    "figure-5-left",
    "figure-5-right",
    "comparisons",
    "methods",
}
PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `pacore report` wrote of the smoke campaign."""
    folder = tmp_path_factory.mktemp("smoke")
    campaign = folder / "smoke.yaml"
    campaign.write_text(yaml.safe_dump({**yaml.safe_load(SMOKE.read_text()), "store": str(folder / "store")}))
    for command in ("run", "report"):
        subprocess.run([sys.executable, "-m", "flows.cli", command, campaign], check=True, cwd=SMOKE.parents[2])
    return folder / "store/reports/smoke"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium."""
    found = shutil.which("chromium") or absent("Chromium", "apt-get install chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        absent("playwright", "make contract")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])


def test_one_campaign_on_the_shipped_model_makes_every_exhibit(report: Path) -> None:
    files = {file.name for file in report.iterdir()}
    assert {f"{name}.csv" for name in EXHIBITS} <= files
    drawn = {name for name in EXHIBITS if name.startswith("figure")}
    assert {f"{name}.{form}" for name in drawn for form in ("png", "svg")} <= files
    assert all((report / f"{name}.png").read_bytes().startswith(PNG) for name in drawn)
    text = (report / "report.md").read_text()
    assert all(f"({name}.png)" in text for name in drawn)


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_opens_whole_and_fits(report: Path, browser: Any, tmp_path: Path, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    complaints: list[str] = []
    loaded: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: loaded.append(request.url))
    page.goto((report / "report.html").as_uri())
    assert loaded == [(report / "report.html").as_uri()]
    assert complaints == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing but tables is wider"
    assert {page.locator(f"#{name}").is_visible() for name in EXHIBITS} == {True}
    assert page.locator("section svg").count() == 6
    boxes = [svg.bounding_box() for svg in page.locator("section svg").all()]
    assert all(box and 280 <= box["width"] <= width and box["height"] > 200 for box in boxes)
    ink, paper = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    light, dark = (
        sum(map(int, colour[4:-1].split(","))) for colour in ((paper, ink) if scheme == "light" else (ink, paper))
    )
    assert light > 600 > 200 > dark
    assert page.screenshot(full_page=True, path=tmp_path / "page.png").startswith(PNG)
    context.close()


def test_a_problem_unfolds_from_the_round_to_the_reasoning(report: Path, browser: Any) -> None:
    page = browser.new_page()
    page.goto((report / "report.html").as_uri())
    first = page.locator("#p1-r1-t1")
    assert not first.locator("pre").first.is_visible()
    first.locator("summary").first.click()
    assert first.locator("pre").first.is_visible()
    reasoning = first.locator("details pre")
    assert not reasoning.is_visible()
    first.locator("details summary").click()
    assert reasoning.is_visible()
    page.close()
