import pytest

from tasks.compaction import conclusion, full


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("so 4", "so 4"),
        ("<think>1</think>so 4", "so 4"),
        ("a</think>b</think>\n\nc", "\n\nc"),
        ("a</think>", ""),
        ("<think>never closed", "<think>never closed"),
        ("", ""),
        (None, ""),
    ],
)
def test_the_message_is_what_follows_the_last_close_of_thinking(content: str | None, message: str) -> None:
    assert conclusion(content) == message


@pytest.mark.parametrize(
    ("reasoning", "content", "whole"),
    [
        ("hm", "so 4", "<think>hm</think>so 4"),
        ("hm", None, "<think>hm</think>"),
        (None, "so 4", "so 4"),
        (None, None, ""),
    ],
)
def test_a_full_message_holds_reasoning_and_conclusion(reasoning: str | None, content: str | None, whole: str) -> None:
    assert full(reasoning, content) == whole
