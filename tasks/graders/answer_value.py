r"""Final answers as values: what an answer in the spelling of `tasks.graders.answer_text.plain` means.

Structure (lists, tuples, intervals, assignments) and rational numbers are read here; any other formula is left to
math-verify's LaTeX parser, and so is computed with by sympy alone.
"""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import sympy  # type: ignore[import-untyped]
from math_verify import parse

LARGEST_NUMBER = 1_000_000
"""Bits. What computes to a larger number is not read."""

# It warns that its own timeouts are off: they need the main thread, and the pool has one that works.
logging.getLogger("math_verify").setLevel(logging.ERROR)


class UnreadableError(ValueError):
    """An answer that is no formula, or computes to too large a number. The text says which."""


@dataclass(frozen=True)
class Words:
    """An answer in words, or a letter of a choice."""

    text: str


@dataclass(frozen=True)
class Number:
    """A rational number, as it was written: `decimals` after the point of a decimal, None for an exact one."""

    value: Fraction
    percent: bool = False
    decimals: int | None = None


@dataclass(frozen=True)
class Formula:
    """Anything else that sympy reads."""

    text: str

    @property
    def value(self) -> Any:
        """The sympy expression. Raises `UnreadableError`."""
        return _sympy(self.text)


@dataclass(frozen=True)
class Equation:
    """Sides that are equal; `value` is what it gives to a name or the number that it ends on."""

    text: str
    value: "Value"
    is_named: bool

    @property
    def is_zero(self) -> bool:
        """Whether it describes a curve rather than a value."""
        return not self.is_named and self.value == Number(Fraction(0))

    @property
    def difference(self) -> Any:
        """Left side less right side. Raises `UnreadableError`."""
        relation = _sympy(self.text)
        if not isinstance(relation, sympy.Equality):
            raise UnreadableError("is not an equation that can be read")
        return relation.lhs - relation.rhs


@dataclass(frozen=True)
class Group:
    """Several values; `brackets` are those around it, empty for a bare list, `∪` for a union."""

    parts: tuple["Value", ...]
    brackets: str = ""
    names: tuple[str, ...] = ()
    """What the parts are given to, as in `x=1, y=2`."""

    @property
    def is_ordered(self) -> bool:
        """Whether the order of the parts matters."""
        return self.brackets not in ("", "{}", "∪")


Value = Words | Number | Formula | Equation | Group


_NUMBER = r"[+-]?\s?(?:\d+(?:\.\d*)?|\.\d+)"
_DECIMAL = re.compile(rf"{_NUMBER}")
_SCIENTIFIC = re.compile(
    rf"({_NUMBER})\s*(?:\\times|\\cdot|\*)\s*10\s*\^\s*(?:\{{\s*([+-]?\d+)\s*\}}|(\d))|({_NUMBER})[eE]([+-]?\d+)"
)
_RATIO = re.compile(rf"({_NUMBER})\s*[/:]\s*({_NUMBER})|([+-]?)\s*\\frac\{{\s*({_NUMBER})\s*\}}\{{\s*({_NUMBER})\s*\}}")
_MIXED = re.compile(r"([+-]?)\s*(\d+)\s*(?:\\frac\{\s*(\d+)\s*\}\{\s*(\d+)\s*\}|\s(\d+)\s*/\s*(\d+))")
_REPEATING = re.compile(r"([+-]?)(\d*)\.(\d*)\\(?:overline|bar|dot)\{?(\d+)\}?")
_THOUSANDS = re.compile(r"(?<![\d.])\d{1,3}(?:(?:, ?| |_|\s*,\s*)\d{3})+(?![\d])")
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:[ _]\d{3})+|[+-]?\d{1,3}(?:,\s?\d{3})+(?:\.\d+)?")
_BASE = re.compile(r"([0-9A-Z]+)_(?:\{(\d+)\}|(\d+))")
_PERCENT = re.compile(r"\s*(?:\\%|percent)\s*$")
_CHOICE = re.compile(r"\(?\s*([A-J])\s*(?:\)|[.:](?=\s|$)|$)\s*(?!\s*(?:or|and)\b|,)(.*)", re.DOTALL)
_SHORT_UNIT = (
    "[cmdnk]?m|in|ft|yd|mi|mph|[mk]?g|lb|oz|m?[lL]|m?s|min|h|hrs?|k?Hz|k?J|N|k?W|V|K|km/h|m/s|st|nd|rd|th|[ap]m"
)
_POWER = r"(?:\s*\^\s*\{?-?\d\}?)?"
_UNIT = re.compile(
    rf"(.*[\d}})!]|\\pi)(?:\s*(?:{_SHORT_UNIT})|\s+[A-Za-z]{{3,}}\.?){_POWER}(?:[\s/]+[A-Za-z]+\.?{_POWER})*"
)
_FOREIGN_UNIT = re.compile(r"(.*\d)\s*[^\x00-\x7f]+")
_NOT_UNITS = re.compile(r"\b(?:or|and|if|when|where|mod|for|with|choose|over|to|in)\b")
_SEPARATOR = re.compile(r"\s*(?:,\s*(?:and|or)\b|,|;|\b(?:and|or)\b)\s*")
_RELATION = re.compile(r"\\le(?![a-z])|\\ge(?![a-z])|\\ne(?![a-z])|\\in(?![a-z])|<=|>=|<|>|=")
_NAME = re.compile(r"\\?[A-Za-z]+(?:_\{?\w+\}?)?'*")
_NAMED = re.compile(rf"{_NAME.pattern}|[A-Za-z]\w*\s*\(.*\)|\(\s*[a-zA-Z](?:\s*,\s*[a-zA-Z])+\s*\)|\\angle.*")
_MATRIX = re.compile(r"\\begin\{([bBpvV]?matrix|array)\}(?:\{[^{}]*\})?(.*)\\end\{\1\}", re.DOTALL)
_ARTICLE = re.compile(r"^(?:an?|the)\s+")
_VERDICT_WORD = re.compile(r"(yes|no|true|false)(?:[,.;:(].*)?", re.DOTALL)
_TIME = re.compile(r"(\d{1,2})(:\d{2})?\s*([ap])\.?\s?m\.?", re.IGNORECASE)
_MAGNITUDE = re.compile(rf"({_NUMBER})\s+(thousand|million|billion)\b.*")
_SUCH_THAT = re.compile(r"\\(?:mid|vert)(?![a-z])|\||:")
_REMARK = re.compile(r"\s*\((?:[A-Za-z][A-Za-z' -]{3,})\.?\)$")
_LEAD = re.compile(r"\A(?=[^,;]*[A-Za-z]{3})(?:[A-Za-z]{2,}[ :,]+)+(?=[-+(\[\d\\])")
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_PLACEHOLDER = re.compile(r"\\(?:[cdl]dots|ldots)|…|\.\.\.")


_PROSE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}")
_WORDS_ALLOWED = re.compile(r"\b(?:and|or|[a-z]?matrix)\b")


@lru_cache(maxsize=256)
def readings(text: str, name: str = "the answer") -> tuple[Value, ...]:
    """What a text may mean, the likelier first. Raises `UnreadableError`, which calls the text by its `name`."""
    found: list[Value] = []
    complaint: UnreadableError | None = None
    text = text.removeprefix("=").strip()
    left, _, right = text.partition(r"\approx")
    text = left.strip() or right.strip()
    text = _REMARK.sub("", text) or text
    text = _LEAD.sub("", text) if len(_split(text, _SEPARATOR)) == 1 else text
    natural = re.sub(r"\\log(?![a-z_])", r"\\ln", text)
    for reader, reading in ((_grouped, text), (_value, text), (_value, natural)):
        try:
            if (value := reader(reading)) is not None and value not in found:
                found.append(value)
        except (UnreadableError, RecursionError) as error:
            complaint = complaint or UnreadableError(str(error))
    if not found:
        raise UnreadableError(f"{name} {complaint or 'is not a formula that can be read'}")
    return tuple(found)


def _grouped(text: str) -> Value | None:
    """A number with its thousands set apart, unit allowed; also the commas of a list may look so."""
    number = _without_unit(text) or text
    percent = bool(_PERCENT.search(number))
    number = _PERCENT.sub("", number)
    if not _GROUPED.fullmatch(number):
        return None
    digits = re.sub(r"[ ,_]", "", number)
    return Number(Fraction(digits), percent, len(digits.partition(".")[2]) if "." in digits else None)


def decimal_comma(text: str) -> list[Value]:
    """What a list of two numbers such as `2,5` means where a comma stands for the point; empty for other texts."""
    number = _number(text.replace(",", ".")) if re.fullmatch(r"[+-]?\d+,\d+", text) else None
    return [number] if number else []


def is_bare(text: str) -> bool:
    """Whether a text in the spelling of `plain` is an answer and no more: a formula, a quantity, or a word or two."""
    if len(text.split()) == 1 or not _PROSE.search(_WORDS_ALLOWED.sub("", text)):
        return True
    return _without_unit(text) is not None or (_is_words(text) and text.count(" ") == 1)


def _value(text: str) -> Value:
    text = text.strip().removesuffix(".").strip()
    if not text:
        raise UnreadableError("has an empty part")
    if _PLACEHOLDER.search(text):
        raise UnreadableError("leaves something out with dots")
    if (number := _number(text)) is not None:
        return number
    if time := _TIME.fullmatch(text):
        return Words(f"{int(time[1])}{time[2] or ':00'} {time[3].lower()}m")
    if magnitude := _MAGNITUDE.fullmatch(text):
        exponent = {"thousand": 3, "million": 6, "billion": 9}[magnitude[2]]
        return _value(rf"{magnitude[1]} \cdot 10^{{{exponent}}}")
    if (choice := _CHOICE.fullmatch(text)) and not _RELATION.search(choice[2]):
        return Words(choice[1].lower())
    if found := _VERDICT_WORD.fullmatch(text.lower()):
        return Words(found[1])
    if _is_words(text):
        return Words(_ARTICLE.sub("", text.lower()).strip())
    if matrix := _MATRIX.fullmatch(text):
        rows = [row for row in re.split(r"\\\\(?:\[[^\]]*\])?", matrix[2]) if row.strip()]
        if all("&" not in row for row in rows):  # a column is a vector
            return Group(tuple(map(_value, rows)), "()")
        return Group(tuple(Group(tuple(map(_value, row.split("&"))), "row") for row in rows), "matrix")
    if (bracketed := _bracketed(text)) is not None:
        return bracketed
    if len(parts := _split(text, _SEPARATOR)) > 1:
        return _listed(parts)
    if len(parts := _split(text, re.compile(r"\\cup(?![a-z])"))) > 1:
        return Group(tuple(map(_value, parts)), "∪")
    if (related := _related(text)) is not None:
        return related
    if r"\pm" in text or r"\mp" in text:
        plus = text.replace(r"\pm", "+").replace(r"\mp", "-")
        minus = text.replace(r"\pm", "-").replace(r"\mp", "+")
        return Group((_value(plus.strip().removeprefix("+")), _value(minus)))
    if (quantity := _without_unit(text)) is not None:
        return _value(quantity)
    if base := _BASE.fullmatch(text):
        return Words(f"{base[1]} base {base[2] or base[3]}")
    Formula(text).value  # noqa: B018  (it raises where the text is no formula)
    return Formula(text)


def _number(text: str) -> Number | None:
    percent = bool(_PERCENT.search(text))
    text = _PERCENT.sub("", text).strip()
    text = text.replace("{", "").replace("}", "") if re.fullmatch(r"[{}\d\s./+-]+", text) else text
    while text.startswith("(") and text.endswith(")") and _DECIMAL.fullmatch(text[1:-1].strip()):
        text = text[1:-1].strip()
    if _DECIMAL.fullmatch(text):
        text = text.replace(" ", "")
        whole, _, decimals = text.partition(".")
        value = Fraction(f"{whole}0.{decimals}0" if whole in ("", "+", "-") else f"{whole}.{decimals}0")
        return Number(value, percent, len(decimals) if decimals else None)
    if (found := _SCIENTIFIC.fullmatch(text)) and abs(int(exponent := found[2] or found[3] or found[5])) < 10_000:
        mantissa = (found[1] or found[4]).replace(" ", "")
        places = len(mantissa.partition(".")[2]) - int(exponent)
        return Number(Fraction(mantissa) * Fraction(10) ** int(exponent), percent, places if "." in mantissa else None)
    if found := _REPEATING.fullmatch(text):
        sign, whole, fixed, repeated = found.groups()
        tail = Fraction(int(repeated), 10 ** len(fixed) * (10 ** len(repeated) - 1))
        value = int(whole or 0) + Fraction(int(fixed or 0), 10 ** len(fixed)) + tail
        return Number(-value if sign == "-" else value, percent)
    if found := _MIXED.fullmatch(text):
        sign, whole, *parts = found.groups()
        above, below = [int(part) for part in parts if part]
        if below:
            value = int(whole) + Fraction(above, below)
            return Number(-value if sign == "-" else value, percent)
    if found := _RATIO.fullmatch(text):
        ratio_above, ratio_below, sign, above_, below_ = found.groups()
        upper, lower = (Fraction(part.replace(" ", "")) for part in (ratio_above or above_, ratio_below or below_))
        if lower:
            return Number(-upper / lower if sign == "-" else upper / lower, percent)
    return None


def _is_words(text: str) -> bool:
    """Whether a text is plain words, which sympy would take for a product of letters."""
    letters = text.replace(" ", "").replace("'", "").replace("-", "")
    return len(letters) > 2 and letters.isalpha() and not _SEPARATOR.search(text)


def _without_unit(text: str) -> str | None:
    """The quantity before a unit in words; None where there is no unit."""
    found = _UNIT.fullmatch(text) or _FOREIGN_UNIT.fullmatch(text)
    if not found or not _is_balanced(found[1]) or _NOT_UNITS.search(text):
        return None
    return found[1].strip()


def _split(text: str, separator: re.Pattern[str]) -> list[str]:
    """Split at separators that stand outside all brackets."""
    parts, start = [], 0
    outside = _outside(text)
    for found in separator.finditer(text):
        if outside(found.start()) and found[0].strip():
            parts.append(text[start : found.start()])
            start = found.end()
    return [part for part in [*parts, text[start:]] if part.strip()] if parts else [text]


def _outside(text: str) -> Callable[[int], bool]:
    depths, depth = [], 0
    for character in text:
        depth -= character in ")]}"
        depths.append(depth)
        depth += character in "([{"
    return lambda place: depths[place] <= 0


def _bracketed(text: str) -> Value | None:
    r"""A tuple, an interval or a set: one pair of brackets around everything."""
    for opening, closing in (("\\{", "\\}"), ("{", "}"), (r"\langle", r"\rangle"), ("([", ")]")):
        if opening == "([":
            if not (text[0] in opening and text[-1] in closing):
                continue
            inner, brackets = text[1:-1], text[0] + text[-1]
        elif text.startswith(opening) and text.endswith(closing):
            inner = text[len(opening) : -len(closing)]
            brackets = "()" if opening == r"\langle" else "{}"
        else:
            continue
        if not _is_balanced(inner):
            continue
        if brackets == "{}" and len(described := _split(inner, _SUCH_THAT)) == 2 and _RELATION.search(described[1]):
            return _value(described[1])
        parts = [part for part in _split(inner, re.compile(r"[,;]")) if part.strip()]
        if len(parts) == 1:
            is_sum = brackets in ("()", "[]") and not re.fullmatch(r"\(.*\)", inner)
            return _value(parts[0]) if brackets != "()" or is_sum else _value(inner)
        if len(parts) > 1:
            return Group(tuple(map(_value, parts)), brackets)
    return None


def _is_balanced(text: str) -> bool:
    depth = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if depth < 0:
            return False
    return depth == 0


def _listed(parts: list[str]) -> Value:
    """A bare list; ordered where it gives values to different names, as in `x=1, y=2`."""
    names = [name for part in parts if (name := _assigned(part))]
    values = tuple(map(_value, parts))
    if len(names) == len(parts) and len({re.sub(r"[_\d{}]", "", name) for name in names}) == len(names):
        return Group(values, "()", tuple(names))
    flat = [part for value in values for part in _several(value)]
    return flat[0] if len(flat) == 1 else Group(tuple(flat))


def _several(value: Value) -> tuple[Value, ...]:
    """The parts of a bare list, such as what `±` stands for."""
    return value.parts if isinstance(value, Group) and not value.brackets else (value,)


def _assigned(text: str) -> str | None:
    left, equals, _ = text.partition("=")
    return left.strip() if equals and _NAME.fullmatch(left.strip()) else None


def _related(text: str) -> Value | None:
    """An assignment as its value, a membership as its set, bounds of one name as an interval; None otherwise."""
    outside = _outside(text)
    relations = [found for found in _RELATION.finditer(text) if outside(found.start())]
    if not relations:
        return None
    ends = [0, *(found.end() for found in relations)]
    starts = [*(found.start() for found in relations), len(text)]
    sides = [text[end:start].strip() for end, start in zip(ends, starts, strict=True)]
    signs = [found[0] for found in relations]
    if not all(sides):
        raise UnreadableError("has a relation with an empty side")
    if signs == [r"\in"]:
        return _value(sides[1])
    if set(signs) == {"="}:
        return _equated(text, sides)
    return _bounded(sides, signs)


def _equated(text: str, sides: list[str]) -> Value:
    left, right = sides[0], sides[-1]
    if _NAMED.fullmatch(left) and not (_number(left) and _NAME.fullmatch(right)):
        return Equation(text, _value(right), is_named=True)
    values = [value for side in (right, left) if (value := _attempt(side)) is not None]
    numbers = [value for value in values if isinstance(value, Number)]
    return Equation(text, (numbers or values or [_value(right)])[0], is_named=False)


def _attempt(text: str) -> Value | None:
    try:
        return _value(text)
    except UnreadableError:
        return None


_MIRRORED = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le"}
_PLAIN_SIGN = {"<=": r"\le", ">=": r"\ge"}


def _bounded(sides: list[str], signs: list[str]) -> Value | None:
    r"""`a < x \le b`, `x > a` or `a > x` as an interval."""
    signs = [_PLAIN_SIGN.get(sign, sign) for sign in signs]
    if not set(signs) <= set(_MIRRORED):
        return None
    if len(sides) == 3 and _NAME.fullmatch(sides[1]):
        if signs[0] in (">", r"\ge"):
            sides, signs = sides[::-1], [_MIRRORED[sign] for sign in reversed(signs)]
        if all(sign in ("<", r"\le") for sign in signs):
            return Group((_value(sides[0]), _value(sides[2])), "[("[signs[0] == "<"] + "])"[signs[1] == "<"])
    if len(sides) == 2 and _NAME.fullmatch(sides[1]) and not _NAME.fullmatch(sides[0]):
        sides, signs = sides[::-1], [_MIRRORED[signs[0]]]
    if len(sides) == 2 and _NAME.fullmatch(sides[0]):
        infinity = Formula(r"\infty")
        if signs[0] in (">", r"\ge"):
            return Group((_value(sides[1]), infinity), "[("[signs[0] == ">"] + ")")
        return Group((Formula(r"-\infty"), _value(sides[1])), "(" + "])"[signs[0] == "<"])
    return None


@lru_cache(maxsize=256)
def _sympy(text: str) -> Any:
    text = re.sub(r"\+\s*\\infty", r"\\infty", text)
    try:
        parsed = parse(rf"\boxed{{{text}}}", parsing_timeout=None)
    except (RecursionError, ValueError) as error:
        raise UnreadableError("is not a formula that can be read") from error
    for item in parsed:
        if not isinstance(item, str):
            _bits(item)
            return _with_imaginary_unit(item) if isinstance(item, sympy.Expr) else item
    raise UnreadableError("is not a formula that can be read")


def _with_imaginary_unit(expression: Any) -> Any:
    """math-verify's parser takes the `i` after a fraction or a root for a name."""
    return expression.subs({symbol: sympy.I for symbol in expression.free_symbols if symbol.name == "i"})


def _bits(expression: Any) -> float:
    """An upper bound of the binary digits that numbers in an expression compute to. Raises `UnreadableError`."""
    if isinstance(expression, sympy.Rational):
        return max(int(expression.p).bit_length(), int(expression.q).bit_length())
    parts = [_bits(part) for part in getattr(expression, "args", ())]
    size = float(sum(parts)) if isinstance(expression, sympy.Mul | sympy.Add) else max(parts, default=1.0)
    if isinstance(expression, sympy.Pow | sympy.exp | sympy.factorial) and not expression.free_symbols:
        size = parts[0] * 2.0 ** min(parts[-1], 64.0)
    if size > LARGEST_NUMBER:
        raise UnreadableError("computes to too large a number")
    return size
