import pytest

from tasks.graders import Verdict
from tasks.graders.patch import grade, last_patch

DIFF = "--- a/x.py\n+++ b/x.py\n@@ -1 +1 @@\n-a\n+b\n"


@pytest.mark.parametrize(
    "message",
    [f"Fixed:\n```diff\n{DIFF}```\nDone.", f"```patch\n{DIFF}```", DIFF, f"```diff\n{DIFF}```\n```python\n1\n```"],
)
def test_a_patch_waits_for_the_harness(message: str) -> None:
    assert last_patch(message) == DIFF
    assert grade("repo__1", message).outcome == "ungraded"


@pytest.mark.parametrize("message", ["", "I can not.", "```diff\nnothing\n```", "```python\n1\n```"])
def test_a_message_without_a_patch_is_wrong(message: str) -> None:
    assert grade("repo__1", message) == Verdict("wrong", None, "no patch found")


def test_the_last_patch_counts() -> None:
    assert last_patch(f"```diff\n{DIFF}```\n```diff\n{DIFF.replace('+b', '+c')}```") == DIFF.replace("+b", "+c")
