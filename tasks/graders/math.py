r"""The `math` grader: final answers in LaTeX or plain text, compared by math-verify.

What it takes for equal, beside what mathematics does: a percentage and its number (`50\%`, `50`, `0.5`), an
assignment and its value (`x=5`, `5`), units and their absence, `R` and `r`. A list in parentheses is ordered.
A bare list or one in braces is a set, as in "find all solutions": `1,2,3` equals `3,2,1`; write the ground
truth as `(1,2,3)` where order matters.

Run it in a `GradingPool`: a tower of powers keeps sympy busy for ever.
"""

import logging
import re
from decimal import Context
from typing import Any

import sympy  # type: ignore[import-untyped]
from math_verify import parse, verify
from sympy.core.relational import Relational  # type: ignore[import-untyped]

from tasks.graders import Verdict
from tasks.graders.exact import answer_line

LONGEST_ANSWER = 2_000
"""Characters. A longer final answer is left ungraded."""

TAIL = 1_000
"""Characters at the end of a message without a box in which math-verify looks for the answer."""

# It warns that its own timeouts are off: they need the main thread, and the pool has one that works.
logging.getLogger("math_verify").setLevel(logging.ERROR)

_BRACES = re.compile(r"\\(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_INTEGER = re.compile(r"[+-]?(?:\d+|\d{1,3}(?:,\d{3})+)")
_DELIMITERS = re.compile(r"\\?\$|(?<!\\)\\[()\[\]]|\\[!,;:]\s*|\{(?=,\})|(?<=\{,)\}")
_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mbox)\{([^{}]*)\}")
_LETTER = re.compile(r"\(([A-Za-z])\)")
_PROSE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}")


def grade(ground_truth: str, message: str) -> Verdict:
    """Compare the final answer with the ground truth: as text, then as integers, then by math-verify.

    Returns:
        `wrong` also where the message has no answer; `ungraded` where the ground truth or the answer cannot
        be read. The answer is normalised: see `normal_form`.
    """
    answer = final_answer(message)
    if answer is None:
        return Verdict("wrong", None, "no answer found")
    if len(answer) > LONGEST_ANSWER:
        return Verdict("ungraded", None, f"the answer is longer than {LONGEST_ANSWER} characters")
    gold = _clean(ground_truth)
    gold_formula, formula = _formula(gold), _formula(answer)
    normal = answer if formula is None else normal_form(formula)
    if answer == gold:
        return Verdict("correct", normal, "same text")
    if _is_words(gold) or _is_words(answer):
        return Verdict("wrong", normal, "other words")
    if gold_formula is None:
        return Verdict("ungraded", normal, "the ground truth is not a formula that can be read")
    if formula is None:
        return Verdict("ungraded", normal, "the answer is not a formula that can be read")
    if _equal(gold_formula, formula):
        return Verdict("correct", normal, "equal")
    return Verdict("wrong", normal, "not equal")


def final_answer(message: str) -> str | None:
    r"""Find the final answer: the first of these that there is, without math delimiters.

    What the last closed `\boxed{…}` holds; a formula or one word after the last `Answer:`; a message that is
    nothing but a formula or one word; what math-verify finds at the end of the message.
    """
    boxed = last_boxed(message)
    if boxed is not None:
        return _clean(boxed) or None
    for bare in (answer_line(message), message):
        if bare is not None and _is_bare(bare):
            return _clean(bare) or None
    found = parse(message[-TAIL:], parsing_timeout=None)
    is_read = any(not isinstance(item, str) for item in found)
    return _clean(str(found[-1])) or None if is_read else None


def last_boxed(message: str) -> str | None:
    r"""Return what the last closed `\boxed{…}` or `\fbox{…}` holds, in one pass; None without one."""
    opened: list[tuple[bool, int]] = []
    start, end = -1, -1
    for token in _BRACES.finditer(message):
        if token[0] == "}":
            is_box, inside = opened.pop() if opened else (False, 0)
            if is_box and inside > start:
                start, end = inside, token.start()
        elif token[0].endswith("{") and token[0] != r"\{":
            opened.append((token[0] != "{", token.end()))
    return None if start < 0 else message[start:end]


def normal_form(expression: Any) -> str:
    r"""Write a parsed answer so that equal answers of different forms are, as far as is reasonable, one text.

    Integers in full, other numbers with 12 significant digits (`\frac12` is `0.5`), tuples in their order,
    sets sorted, an assignment as its value, other formulas as sympy simplifies them.
    """
    if isinstance(expression, sympy.Equality) and expression.lhs.is_Symbol:
        return normal_form(expression.rhs)
    if isinstance(expression, sympy.Tuple):
        return f"({', '.join(map(normal_form, expression.args))})"
    if isinstance(expression, sympy.FiniteSet):
        return f"{{{', '.join(sorted(map(normal_form, expression.args)))}}}"
    if isinstance(expression, sympy.Interval):
        left, right = "[("[bool(expression.left_open)], "])"[bool(expression.right_open)]
        return f"{left}{normal_form(expression.start)}, {normal_form(expression.end)}{right}"
    if isinstance(expression, sympy.MatrixBase):
        return str([[normal_form(cell) for cell in row] for row in expression.tolist()])
    if isinstance(expression, sympy.Symbol):
        return str(expression.name).lower()
    if isinstance(expression, sympy.Expr) and expression.is_number:
        return _number(expression)
    if isinstance(expression, sympy.Expr | Relational):
        return str(sympy.simplify(expression.doit()))
    return str(expression)


def _number(number: Any) -> str:
    number = number.subs(sympy.UnevaluatedExpr(sympy.Rational(1, 100)), 1)  # 50 % votes with 50
    value = number.evalf(20)
    if not value.is_Float:  # complex, infinite or undefined
        return str(number.evalf(12))
    if number.is_integer and abs(value) < sympy.Float("1e1000"):
        return str(number.doit())
    rounded = Context(prec=12).create_decimal(str(value)).normalize()
    return str(int(rounded)) if rounded.adjusted() < 12 and rounded == int(rounded) else str(rounded)


def _equal(gold: Any, answer: Any) -> bool:
    if isinstance(gold, sympy.Integer) and isinstance(answer, sympy.Integer):
        return bool(gold == answer)
    if not verify(gold, answer, timeout_seconds=None):
        return False
    if not (getattr(gold, "is_number", False) and getattr(answer, "is_number", False)):
        return True
    # math-verify takes all numbers below 1e-15 for one: 1/2004! would equal 1/2006!.
    if gold.is_zero or abs(gold.evalf()) > 1e-6:
        return True
    return bool(abs((answer / gold).evalf() - 1) < 1e-6)


def _formula(text: str) -> Any | None:
    """Read a cleaned text as sympy does, `016` as 16 and `1,234` as 1234; None for words and nonsense."""
    if _INTEGER.fullmatch(text):
        return sympy.Integer(text.replace(",", ""))
    if _is_words(text):
        return None
    parsed = parse(rf"\boxed{{{text}}}", parsing_timeout=None)
    return next((item for item in parsed if not isinstance(item, str)), None)


def _clean(text: str) -> str:
    r"""Drop math delimiters, thin spaces, `\text{}` or Markdown around the answer, and a full stop.

    Digits of any script, and the minus sign, become ASCII; words become lower case.
    """
    text = re.sub(r"\d", lambda digit: str(int(digit[0])), text.replace("−", "-"))
    text = " ".join(_DELIMITERS.sub("", text).split()).strip("* ").rstrip(". ")
    for wrapping in (_TEXT, _LETTER):
        if wrapped := wrapping.fullmatch(text):
            text = wrapped[1].strip()
    return text.lower() if _is_words(text) else text


def _is_words(text: str) -> bool:
    """Whether a cleaned text is plain words, which math-verify would take for a product of letters."""
    return len(text) > 2 and text.replace(" ", "").isalpha()


def _is_bare(text: str) -> bool:
    """Whether a text is nothing but an answer: one line that is a formula, or one word."""
    text = text.strip()
    is_formula = not _PROSE.search(_TEXT.sub("", text))
    return 0 < len(text) <= 200 and "\n" not in text and (is_formula or len(text.split()) == 1)
