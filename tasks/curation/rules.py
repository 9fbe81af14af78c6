"""Rules of quality: problems that text alone does not state, or that have no one answer, are dropped (Appendix C)."""

import re

from tasks.curation.candidate import Candidate

IMAGE_OR_LINK = re.compile(
    r"!\[|<img\b|\\includegraphics|\[asy\]|\bhttps?://|\bwww\."
    r"|\b(?:figure|diagram|image|picture|graph)s? (?:below|above|shown|on the (?:left|right))"
    r"|\b(?:shown|as|see|given|depicted) (?:\w+ )?in the (?:\w+ )?(?:figure|diagram|image|picture)\b",
    re.IGNORECASE,
)
PART = re.compile(r"(?:^|\s)\(?([ab])\)\s|^\s*(?:part|question)\s+([ab12])\b", re.IGNORECASE | re.MULTILINE)
CHOICE = re.compile(r"(?:^|\s)\(?[CD]\)\s", re.MULTILINE)
"""Where there are a third and a fourth, (A) and (B) are choices of one answer."""
SEVERAL_ANSWERS = re.compile(r"\n|;|\b(?:and|or)\b", re.IGNORECASE)
NO_ONE_ANSWER = re.compile(
    r"(?:^|[.,:;!?)$]\s+|\b(?:and|then|please)\s+)"
    r"(?:prove|show that|explain|describe|discuss|justify|sketch|give an example|write an? (?:essay|story|poem))\b"
    r"|\bin your (?:own words|opinion)\b|\bdo you think\b",
    re.IGNORECASE | re.MULTILINE,
)
"""What is demanded of the reader, not what somebody in the problem does."""
TOKEN = re.compile(r"\w+|[^\s\w]")
FEWEST_TOKENS = 5


def broken_rule(candidate: Candidate) -> str | None:
    """Which rule a problem breaks, the first of them; None for none. A ground truth in JSON, tests, is one answer."""
    question, truth = candidate.question, candidate.ground_truth.strip()
    if IMAGE_OR_LINK.search(question):
        return "images or links"
    if question.count("?") > 1 or _has_parts(question):
        return "several parts"
    if not truth.startswith('{"') and SEVERAL_ANSWERS.search(truth):
        return "several answers"
    if not truth or len(TOKEN.findall(question)) < FEWEST_TOKENS or NO_ONE_ANSWER.search(question):
        return "vague prose"
    return None


def _has_parts(question: str) -> bool:
    parts = {(first or second).lower() for first, second in PART.findall(question)}
    return (parts >= {"a", "b"} or parts >= {"1", "2"}) and len(CHOICE.findall(question)) < 2
