"""The `patch` grader: a unified diff is left to SWE-bench's own harness, ungraded until its report is taken in."""

import re

from tasks.graders import Verdict

_BLOCK = re.compile(r"^```(?:diff|patch)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)


def grade(ground_truth: str, message: str) -> Verdict:
    """A message without a patch is wrong; any other waits for `pacore patches`. A patch has no vote."""
    if last_patch(message) is None:
        return Verdict("wrong", None, "no patch found")
    return Verdict("ungraded", None, "waits for the harness of SWE-bench: pacore patches export")


def last_patch(message: str) -> str | None:
    """The last block of diff that changes a file; without a block, a message that is one; None where there is none."""
    for text in [*reversed(_BLOCK.findall(message)), message.strip() + "\n"]:
        if re.search(r"^--- .*\n\+\+\+ ", text, re.MULTILINE) and re.match(r"diff --git |--- ", text):
            return str(text)
    return None
