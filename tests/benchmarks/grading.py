"""Grading calls on hostile answers: `python -m tests.benchmarks.grading [CALLS]` prints how many end, and how fast."""

import random
import sys
import time
from collections import Counter
from collections.abc import Callable

from tasks.graders.grading_pool import GradingPool

GOLDS = ["5", r"\frac{1}{2}", "(1,2)", "1,2,3", "x^2-1", r"2\sqrt{3}", "[0,1]", "Monday", "B", "0"]
MEGABYTE = 2**20
DIGITS = "0١२３𝟜五½²₇Ⅷ⑨٪‰∞"
LATEX = r"""
\frac{ \boxed{ \sqrt[ \left( \right] \begin{pmatrix} \end{cases} \text{ \over \pm \cup \in \le \binom \log_ \ln \sin
\sum_{n=1}^{10^9} \int_0^1 \lim_{x\to0} \prod_{k=1}^{99} ^{-1} ^\circ \infty \overline{ { } [ ] ( ) $ $$ \ \\ & ^ _
, ; : . = < > ! % ~ # 1 2 x y e i pi and or
"""
PIECES = LATEX.split()


def tower(chooser: random.Random) -> str:
    """Powers of powers, factorials of factorials."""
    text = str(chooser.randint(2, 9))
    for _ in range(chooser.randint(2, 8)):
        text = chooser.choice([f"{chooser.randint(2, 99)}^{{{text}}}", f"({text})!", f"{{{text}}}^{{{text}}}"])
    return rf"\boxed{{{text}}}"


def unbalanced(chooser: random.Random) -> str:
    """Random LaTeX, most of it nonsense."""
    text = "".join(chooser.choices(PIECES, k=chooser.randint(1, 60)))
    return chooser.choice([text, rf"\boxed{{{text}}}", rf"The answer is ${text}$.", rf"\boxed{{{text}"])


def deep(chooser: random.Random) -> str:
    """Deep nesting of one construct."""
    opening, closing = chooser.choice(
        [("{", "}"), ("(", ")"), (r"\frac{1}{", "}"), (r"\sqrt{", "}"), (r"\boxed{", "}")]
    )
    depth = chooser.choice([10, 100, 400])
    return rf"\boxed{{{opening * depth}1{closing * (depth - chooser.randint(0, 1))}}}"


def huge(chooser: random.Random) -> str:
    """A megabyte of the same few characters."""
    piece = chooser.choice([*PIECES, "1", "1,", "1 ", "a ", "9^", "\\boxed{1}", "answer is ", "或", "１", "\0"])
    text = (piece * (MEGABYTE // len(piece) + 1))[:MEGABYTE]
    return chooser.choice([text, rf"\boxed{{{text}}}", f"The answer is {text}", f"{text}\nAnswer: {text}"])


def foreign(chooser: random.Random) -> str:
    """Digits of many scripts, control characters, halves of pairs, right-to-left marks."""
    text = "".join(
        chooser.choices([*DIGITS, "\0", "\x1b", "\u202e", "\ufeff", "é", "1", ",", "/"], k=chooser.randint(1, 30))
    )
    return chooser.choice([text, rf"\boxed{{{text}}}", f"答案：{text}"])


def slow(chooser: random.Random) -> str:
    """Formulas that are short to write and long to compute with."""
    number = chooser.randint(2, 10**6)
    formula = chooser.choice(
        [
            rf"\sum_{{n=1}}^{{{number}}} \frac{{1}}{{n^n}}",
            rf"\int_0^{{{number}}} e^{{-x^x}} \sin(x^{{{number}}}) dx",
            rf"(x+{number})^{{{number % 500}}} - (x-1)^{{{number % 499}}}",
            rf"\sqrt{{{number}+\sqrt{{{number}+\sqrt{{{number}+\sqrt{{{number}}}}}}}}}",
            rf"\prod_{{k=1}}^{{{number}}} (1+\frac{{1}}{{k^2}})",
            rf"\sin(10^{{{number % 1000}}}) + \cos(e^{{{number % 1000}}})",
            rf"{number}^{{{number % 9000}}} \bmod 7",
        ]
    )
    return rf"\boxed{{{formula}}}"


KINDS: list[tuple[Callable[[random.Random], str], int]] = [
    (tower, 30),
    (unbalanced, 40),
    (deep, 10),
    (huge, 2),
    (foreign, 15),
    (slow, 3),
]
"""Makers of answers, and their weights."""


def hostile_pairs(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Ground truths and messages; the same arguments give the same pairs."""
    chooser = random.Random(seed)
    makers = chooser.choices([maker for maker, _ in KINDS], [weight for _, weight in KINDS], k=count)
    return [(chooser.choice(GOLDS), maker(chooser)) for maker in makers]


def main(calls: int) -> None:
    """Print how many of the calls ended, in what, and how many a second."""
    pairs = hostile_pairs(calls)
    started = time.monotonic()
    with GradingPool("math", workers=2, seconds=2) as pool:
        verdicts = pool.grade(pairs)
    seconds = time.monotonic() - started
    outcomes = Counter(verdict.outcome for verdict in verdicts)
    reasons = Counter(verdict.reason for verdict in verdicts if verdict.outcome == "ungraded")
    print(f"{len(verdicts):,} of {calls:,} hostile calls ended in {seconds:.0f} s: {calls / seconds:.1f} a second")
    print(", ".join(f"{count:,} {outcome}" for outcome, count in outcomes.items()))
    print(*(f"{count:6,} ungraded: {reason}" for reason, count in reasons.most_common(8)), sep="\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
