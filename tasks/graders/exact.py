"""The `exact` grader: the answer is, character for character, the ground truth."""

import re

from tasks.graders import Verdict

_ANSWER_LINE = re.compile(r"\banswer:(.*)", re.IGNORECASE)


def grade(ground_truth: str, message: str) -> Verdict:
    """Compare texts, case and inner spaces included; only white space around them is ignored.

    The answer is what follows the last `Answer:` on its line, or the whole message where there is no
    `Answer:`.
    """
    line = answer_line(message)
    answer = (message if line is None else line).strip()
    if not answer:
        return Verdict("wrong", None, "no answer")
    if answer == ground_truth.strip():
        return Verdict("correct", answer, "equal to the ground truth")
    return Verdict("wrong", answer, "differs from the ground truth")


def answer_line(message: str) -> str | None:
    """Return what follows the last `Answer:`, in any case, on its line; None without one."""
    lines: list[str] = _ANSWER_LINE.findall(message)
    return lines[-1] if lines else None
