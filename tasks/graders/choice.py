r"""The `choice` grader: one letter, A to J.

The letter is, in this order: what the last `\boxed{…}` holds; what follows the last "the answer is", `Answer:` and the
like; a message that is nothing but the letter, or starts with it as an option (`(B) 17`).
"""

import re

from tasks.graders import Verdict
from tasks.graders.answer_text import last_boxes, plain, stated

_LETTER = r"(?:[Oo]ption|[Cc]hoice|[Aa]nswer)?\s*[\[({]*\s*([A-J])\s*[\])}]*"
_ALONE = re.compile(rf"{_LETTER}[.:]?")
_FIRST = re.compile(rf"{_LETTER}(?:[.:)\]]|\s+(?=[-–—:])|,?\s+(?:because|since|as)\b|$)\s*(?!\s*(?:or|and)\b)")
_OPTION = re.compile(r"\(([A-J])\)|\b([A-J])(?=[).:]\s)")
_CUED = re.compile(
    r"(?:answer|option|choice|correct (?:one|letter))\s*(?:is|would be|should be|must be|:)*\s*[*_]*[\[(]*\s*"
    r"([A-J])(?![A-Za-z'])(?!\W{0,3}(?:or|and|/)\W{0,3}[A-J]\b)",
    re.IGNORECASE,
)


def grade(ground_truth: str, message: str) -> Verdict:
    """Compare the letter of the message with that of the ground truth; two letters at once are wrong."""
    letter = final_letter(message)
    if letter is None:
        return Verdict("wrong", None, "no letter found")
    if letter == ground_truth.strip().strip("()").upper():
        return Verdict("correct", letter, "the right letter")
    return Verdict("wrong", letter, "another letter")


def final_letter(message: str) -> str | None:
    """The letter that a message ends on; None where there is none, or more than one."""
    if boxes := last_boxes(message):
        return _letter(plain(boxes[-1])) if len(boxes) == 1 else None
    if (sentence := stated(message)) is not None and (letter := _letter(plain(sentence))):
        return letter
    cued = [found for found in _CUED.findall(message) if found.isupper()]
    return cued[-1] if cued else _letter(plain(message[-2_000:]))


def _letter(text: str) -> str | None:
    text = text.strip()
    if found := _ALONE.fullmatch(text) or _ALONE.fullmatch(text.upper()) or _FIRST.match(text):
        return found[1]
    letters = {one or other for one, other in _OPTION.findall(text)}
    return letters.pop() if len(letters) == 1 else None
