"""The page: data stays data, nothing is loaded, nothing runs."""

from collections.abc import Callable
from html.parser import HTMLParser

from tasks.report.exhibits import exhibits
from tasks.report.page import as_page
from tasks.report.walk import turning, walks
from tests.tasks.ledger import SUM, Ledger, with_pool

HOSTILE = (
    "</pre></details><script>alert(1)</script><img src=x onerror=alert(1)>&amp;{{ 7 * 7 }}{% raw %}\x1b[2J\u202e**b**"
)


class Page(HTMLParser):
    """What stands in a page: its elements with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def page(ledger: Callable[..., Ledger], answer: str, reasoning: str = "", **keys: object) -> str:
    """The page of a campaign whose last trajectory turned one answer from right to wrong."""
    here, pool = with_pool(ledger(**keys))
    here.reasoning = reasoning
    here.round("low", SUM, 0, 1, pool[SUM])
    here.later("low", SUM, 0, 2, [("wrong", answer, 10)], pool[SUM][:2])
    evidence = here.evidence()
    walked = walks(evidence.books, turning(evidence.books, 1))
    return as_page(evidence.model, exhibits([evidence]), walked)


def test_what_a_model_wrote_is_text_and_nothing_else(ledger: Callable[..., Ledger]) -> None:
    plain = Page(page(ledger, "3", "r"))
    hostile = Page(page(ledger, HOSTILE, HOSTILE, store="second", sampler={"model": HOSTILE}))
    assert [tag for tag, _ in hostile.elements] == [tag for tag, _ in plain.elements]
    assert "<script>alert(1)</script><img src=x onerror=alert(1)>&amp;{{ 7 * 7 }}{% raw %}␛[2J�**b**" in hostile.text


def test_nothing_is_loaded_and_nothing_runs(ledger: Callable[..., Ledger]) -> None:
    every = Page(page(ledger, "3", "r"))
    assert not {"script", "link", "iframe", "img", "object"} & {tag for tag, _ in every.elements}
    pointing = [
        value for _, of in every.elements for name, value in of.items() if name in ("src", "href", "xlink:href")
    ]
    assert pointing
    assert all(value and value.startswith("#") for value in pointing)
    assert not [name for _, of in every.elements for name in of if name.startswith("on")]
    policy = next(of for tag, of in every.elements if of.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'"


def test_a_problem_is_walked_through_its_rounds_with_reasoning_folded(ledger: Callable[..., Ledger]) -> None:
    every = Page(page(ledger, "3", "so many words"))
    assert "sum: right to wrong" in every.text
    assert "Round 1: 4 trajectories, 2 right" in every.text
    assert "Reasoning, 13 characters" in every.text
    places = [of["id"] for tag, of in every.elements if tag == "details" and "id" in of]
    assert places == ["p1-r1-t1", "p1-r1-t2", "p1-r1-t3", "p1-r1-t4", "p1-r2-t1"]
    links = [of["href"] for tag, of in every.elements if tag == "a" and str(of["href"]).startswith("#p1-")]
    assert links == ["#p1-r1-t1", "#p1-r1-t2"]


def test_a_very_long_text_is_cut_and_the_page_says_by_how_much(ledger: Callable[..., Ledger]) -> None:
    every = page(ledger, "3", "x" * 1_000_000)
    assert len(every) < 200_000
    assert "992,000 characters more are in the store." in every
