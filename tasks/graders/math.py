r"""The `math` grader: final answers in LaTeX or plain text, compared by structure, and leaf by leaf by sympy.

What it takes for equal, beside what mathematics does: a percentage and its number (`50\%`, `50`, `0.5`), an
assignment and its value (`x=5`, `5`), units and their absence, a number with and without its base (`11_2`, `11`),
a decimal of six or more digits and the number that it is rounded or cut from.

A list in parentheses is ordered. A bare list or one in braces is a set, as in "find all solutions": `1,2,3`
equals `3,2,1`; write the ground truth as `(1,2,3)` where order matters.

Run it in a `GradingPool`: sympy can be kept busy for ever.
"""

import re
from dataclasses import replace
from decimal import Context
from fractions import Fraction
from typing import Any

import sympy  # type: ignore[import-untyped]
from math_verify import parse, verify
from sympy.core.relational import Relational  # type: ignore[import-untyped]

from tasks.graders import Verdict
from tasks.graders.answer_text import last_boxes, plain, stated
from tasks.graders.answer_value import (
    Equation,
    Formula,
    Group,
    Number,
    UnreadableError,
    Value,
    Words,
    decimal_comma,
    is_bare,
    readings,
)

LONGEST_ANSWER = 2_000
"""Characters. A longer final answer is left ungraded."""

TAIL = 1_000
"""Characters at the end of a message that states no answer in which math-verify looks for one."""

PRECISE_DIGITS = 6
"""Significant digits from which on a decimal may stand for a number that it only comes near."""

_FORMULAS = re.compile(r"\$([^$]+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]")


def grade(ground_truth: str, message: str) -> Verdict:
    """Compare the final answer with the ground truth.

    Returns:
        `wrong` also where the message has no answer; `ungraded` where the ground truth or the answer cannot
        be read. The answer is normalised: see `normal_form`.
    """
    answers = final_answers(message)
    if not answers:
        return Verdict("wrong", None, "no answer found")
    if max(map(len, answers)) > LONGEST_ANSWER:
        return Verdict("ungraded", None, f"the answer is longer than {LONGEST_ANSWER} characters")
    gold = plain(ground_truth)
    normal = None
    try:
        normal = _vote(answers[0])
        if gold in answers:
            return Verdict("correct", normal, "same text")
        golds = readings(gold, "the ground truth")
        meant = [value for answer in answers for value in (*readings(answer), *decimal_comma(answer))]
        if any(_equal(one, other) for one in golds for other in meant):
            return Verdict("correct", normal, "equal")
    except UnreadableError as error:
        if gold in answers:
            return Verdict("correct", normal or gold, "same text")
        return Verdict("ungraded", normal, str(error))
    return Verdict("wrong", normal, "not equal")


def _vote(answer: str) -> str:
    value = readings(answer)[0]
    try:
        return normal_form(value)
    except (AttributeError, NotImplementedError, RecursionError, TypeError, ValueError):
        return answer  # sympy reads what it can not simplify


def final_answers(message: str) -> list[str]:
    r"""The final answer in the spelling of `plain`; two readings where several boxes stand side by side.

    It is the first of these that there is: what the last closed `\boxed{…}` holds; what the message states after
    "the answer is" or the like; a message that is nothing but an answer; what math-verify finds at its end.
    """
    if boxes := last_boxes(message):
        if sum(map(len, boxes)) > LONGEST_ANSWER:
            return boxes
        answers = [", ".join(map(plain, boxes)), plain(boxes[-1])]
        return list(dict.fromkeys(filter(None, answers)))
    sentence = stated(message)
    for text in (sentence, message):
        if text and len(text) <= 200 and (found := _only_answer(text)) is not None:
            return [found] if found else []
    found_at_end = parse((sentence or message)[-TAIL:], parsing_timeout=None)
    is_read = any(not isinstance(item, str) for item in found_at_end)
    return [text] if is_read and (text := plain(str(found_at_end[-1]))) else []


def final_answer(message: str) -> str | None:
    """The first of `final_answers`; None where there is none."""
    return next(iter(final_answers(message)), None)


def _only_answer(text: str) -> str | None:
    """The answer that a text is, or the last formula in a line of prose; None where there is neither."""
    text = text.strip()
    if "\n" in text:
        return None
    if is_bare(cleaned := plain(text)):
        return cleaned
    formulas = [next(filter(None, groups)) for groups in _FORMULAS.findall(text)]
    return plain(formulas[-1]) if formulas else None


def _equal(gold: Value, answer: Value) -> bool:
    gold, answer = _alone(gold), _alone(answer)
    match gold, answer:
        case Equation(), Equation():
            return _same_equation(gold, answer)
        case Equation(), _:
            return gold.is_named and _equal(gold.value, answer)
        case _, Equation():
            return _equal(gold, answer.value)
        case Words(), _:
            return _says(gold, answer)
        case _, Words():
            return _says(answer, gold)
        case Number(), Number():
            return _same_number(gold, answer)
        case Group(), Group():
            return _same_group(gold, answer)
        case (Group(), _) | (_, Group()):
            return False
    return _same_expression(_expression(gold), _expression(answer))


def _alone(value: Value) -> Value:
    if isinstance(value, Group) and len(value.parts) == 1 and value.brackets not in ("row", "matrix"):
        return _alone(value.parts[0])
    return value


def _by_name(group: Group) -> Group:
    pairs = sorted(zip(group.names, group.parts, strict=True), key=lambda pair: pair[0])
    return replace(group, names=tuple(name for name, _ in pairs), parts=tuple(part for _, part in pairs))


def _says(words: Words, other: Value) -> bool:
    if isinstance(other, Words):
        return words.text.replace(" ", "") == other.text.replace(" ", "")
    if isinstance(other, Formula):
        return words.text == other.text.lower()
    digits, is_based, _ = words.text.partition(" base ")
    return bool(is_based and digits.isdigit()) and isinstance(other, Number) and other.value == int(digits)


def _same_number(gold: Number, answer: Number) -> bool:
    if _near(gold, answer, 1):
        return True
    if gold.percent == answer.percent:
        return False
    return _near(gold, answer, Fraction(1, 100) if answer.percent else Fraction(100))


def _near(gold: Number, answer: Number, factor: Fraction | int) -> bool:
    """Exactly equal, or within the last digit of a precise decimal for a number that no decimal can write."""
    difference = abs(gold.value - answer.value * factor)
    precise = [number for number in (gold, answer) if _is_precise(number)]
    may_differ = len(precise) == 2 or any(not _terminates(number.value) for number in (gold, answer))
    last_digit = max((Fraction(1, 10) ** (number.decimals or 0) for number in precise), default=Fraction(0))
    return not difference or (may_differ and difference < last_digit)


def _is_precise(number: Number) -> bool:
    return number.decimals is not None and _digits(number) >= PRECISE_DIGITS


def _digits(number: Number) -> int:
    return len(str(abs(int(number.value * Fraction(10) ** (number.decimals or 0)))))


def _terminates(value: Fraction) -> bool:
    below = value.denominator
    for prime in (2, 5):
        while below % prime == 0:
            below //= prime
    return below == 1


def _same_group(gold: Group, answer: Group) -> bool:
    if len(gold.parts) != len(answer.parts):
        return False
    if gold.names and answer.names:
        return all(map(_equal, _by_name(gold).parts, _by_name(answer).parts))
    if answer.names and answer.names != (ordered := _by_name(answer)).names:
        return _same_group(gold, replace(answer, names=())) or _same_group(gold, replace(ordered, names=()))
    if gold.is_ordered and answer.is_ordered and len(gold.parts) == 2 and gold.brackets != answer.brackets:
        return False
    if (gold.brackets == "matrix") != (answer.brackets == "matrix"):
        return False
    if gold.is_ordered or (answer.is_ordered and gold.brackets != "{}"):
        return all(map(_equal, gold.parts, answer.parts))
    left = list(answer.parts)
    for part in gold.parts:
        match = next((other for other in left if _equal(part, other)), None)
        if match is None:
            return False
        left.remove(match)
    return True


def _same_equation(gold: Equation, answer: Equation) -> bool:
    if gold.is_named and answer.is_named:
        return _equal(gold.value, answer.value)
    ratio = sympy.simplify(gold.difference / answer.difference)
    return bool(ratio.is_number and ratio.is_finite and ratio != 0)


def _expression(value: Value) -> Any:
    if isinstance(value, Number):
        exact = sympy.Rational(value.value.numerator, value.value.denominator)
        return exact.evalf(_digits(value)) if _is_precise(value) else exact
    if isinstance(value, Formula):
        return value.value
    raise UnreadableError("is not a formula that can be read")


def _same_expression(one: Any, other: Any) -> bool:
    if getattr(one, "is_number", False) and getattr(other, "is_number", False):
        return _same_value(one.doit(), other.doit())
    return bool(verify(one, other, timeout_seconds=None))


def _same_value(one: Any, other: Any) -> bool:
    """math-verify takes all numbers below 1e-15 for one: here `1/2004!` is not `1/2006!`."""
    if isinstance(one, sympy.Rational) and isinstance(other, sympy.Rational):
        return bool(one == other)
    difference, size = (abs(sympy.N(part, 60)) for part in (one - other, one))
    if not (difference.is_real and size.is_real):
        return bool(one == other)
    decimals = [int(decimal._prec * 0.30103) for decimal in one.atoms(sympy.Float) | other.atoms(sympy.Float)]
    digits = max(min(decimals), PRECISE_DIGITS + 1) - 2 if decimals else 50
    return bool(difference <= size * sympy.Float(10) ** -digits)


def normal_form(value: Value) -> str:
    r"""Write an answer so that equal answers of different forms are, as far as is reasonable, one text.

    Integers in full, other numbers with 12 significant digits (`\frac12` is `0.5`), ordered groups in their order,
    others sorted, other formulas as sympy simplifies them. Raises `UnreadableError`.
    """
    match _alone(value):
        case Words(text):
            return text
        case Equation(text, inner) as equation:
            return f"{_formula_form(equation.difference)} = 0" if equation.is_zero else normal_form(inner)
        case Number(number):
            return _decimal(sympy.Rational(number.numerator, number.denominator))
        case Group(names=names) as group if names and names != _by_name(group).names:
            return normal_form(_by_name(group))
        case Group(parts, brackets):
            forms = [normal_form(part) for part in parts]
            if brackets in ("row", "matrix"):
                return f"[{', '.join(forms)}]"
            if brackets in ("", "{}", "∪"):
                return f"{{{', '.join(sorted(forms))}}}"
            return f"{brackets[0]}{', '.join(forms)}{brackets[1]}"
    return _formula_form(_expression(_alone(value)))


def _formula_form(expression: Any) -> str:
    if isinstance(expression, sympy.Symbol):
        return str(expression.name).lower()
    if isinstance(expression, sympy.Expr) and expression.is_number:
        return _decimal(expression)
    if isinstance(expression, sympy.Expr | Relational):
        return str(sympy.simplify(expression.doit()))
    return str(expression)


def _decimal(number: Any) -> str:
    value = number.evalf(20)
    if not value.is_Float and not value.is_Integer:  # complex, infinite or undefined
        return str(number.evalf(12))
    if number.is_integer and abs(value) < sympy.Float("1e1000"):
        return str(number.doit())
    rounded = Context(prec=12).create_decimal(str(value)).normalize()
    return str(int(rounded)) if rounded.adjusted() < 12 and rounded == int(rounded) else str(rounded)
