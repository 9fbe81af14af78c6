r"""Final answers as text: where a message states its answer, and one spelling for what LaTeX and Unicode spell in many.

Nothing here judges: `plain` keeps the meaning and takes away the looks, so that `tasks.graders.math` reads one
notation.
"""

import re
import unicodedata
from fractions import Fraction

TAIL = 2_000
"""Characters at the end of a message without a box in which a phrase such as "the answer is" is looked for."""

_BRACES = re.compile(r"\\(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_BETWEEN_BOXES = re.compile(r"[\s$,;.]|\\[()\[\],;!]|\\q?quad|\\(?:text|mathrm)\{[^{}]*\}|\b(?:and|or|[a-z]\s*=)")
_CUE = re.compile(
    r"(?:(?<!\w)(?:final\s+)?answer\b(?:\s+to\s+the\s+\w+)?|答案)\W{0,6}?\s*(?:is|are|为|是|[:：=])[\s*]*(?:[:：]\s*)?"
    r"|^\s*####\s*|^\s*A:\s*",
    re.IGNORECASE | re.MULTILINE,
)
_SENTENCE_END = re.compile(r"\n|(?<=[^\d\s])\.(?=\s+[A-Z])|(?<=\d)\.(?=\s+[A-Z])|。")


def last_boxes(message: str) -> list[str]:
    r"""What the last closed `\boxed{…}` or `\fbox{…}` holds, in one pass, after those that stand beside it.

    `\boxed{1}, \boxed{2}` and `\boxed{1} or \boxed{2}` state one answer of two parts. Empty without a box.
    """
    opened: list[tuple[bool, int, int]] = []
    boxes: list[tuple[int, int, int]] = []
    for token in _BRACES.finditer(message):
        if token[0] == "}":
            is_box, start, inside = opened.pop() if opened else (False, 0, 0)
            if is_box:
                while boxes and boxes[-1][0] > start:  # boxes within this one
                    boxes.pop()
                boxes.append((start, inside, token.start()))
        elif token[0].endswith("{") and token[0] != r"\{":
            opened.append((token[0] != "{", token.start(), token.end()))
    if not boxes:
        return []
    first = len(boxes) - 1
    while first and _are_beside(message[boxes[first - 1][2] + 1 : boxes[first][0]]):
        first -= 1
    return [message[inside:end] for _, inside, end in boxes[first:]]


def _are_beside(between: str) -> bool:
    return len(between) < 60 and "\n\n" not in between and not _BETWEEN_BOXES.sub("", between)


def stated(message: str) -> str | None:
    """What follows the last "the answer is", `Answer:`, `答案` or `####`, to its sentence's end; None without one."""
    cues = list(_CUE.finditer(message[-TAIL:]))
    for cue in reversed(cues):
        rest = message[-TAIL:][cue.end() :].lstrip()
        if sentence := _SENTENCE_END.split(rest, maxsplit=1)[0].strip():
            return sentence
    return None


_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_SIGNS = {
    **dict.fromkeys("−–—﹣‐‑", "-"),
    **{"×": r"\times ", "⋅": r"\cdot ", "·": r"\cdot ", "∙": r"\cdot ", "÷": "/", "∕": "/", "⁄": "/"},
    **{"π": r"\pi ", "∞": r"\infty ", "√": r"\sqrt", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset "},
    **{
        "≤": r"\le ",
        "⩽": r"\le ",
        "≥": r"\ge ",
        "⩾": r"\ge ",
        "≠": r"\ne ",
        "±": r"\pm ",
        "∓": r"\mp ",
        "≈": r"\approx ",
    },
    **{"°": r"^\circ ", "º": r"^\circ ", "θ": r"\theta ", "⟨": r"\langle ", "⟩": r"\rangle ", "∠": r"\angle "},
    **{"或": " or ", "和": " and ", "、": ",", "。": ".", "“": "", "”": "", "\u200b": "", "\ufeff": ""},
}
_CHINESE_UNITS = {"十": 10, "百": 100, "千": 1_000}
_CHINESE_NUMBER = re.compile(r"[零〇一二三四五六七八九两十百千万亿]+")

_REWRITTEN = [
    (re.compile(pattern), becomes)
    for pattern, becomes in [
        (r"\\(?:\$|[()\[\]](?![^\[\]]*pt\]))|(?<!\\)\$", ""),  # delimiters and dollars
        (r"(?<!\\)\\(?:[,;:!>]|q?quad|thinspace|hspace\{[^{}]*\}|phantom\{[^{}]*\}|(?= ))|~", " "),
        (r"\\(?:left|right|[bB]igg?[lr]?|displaystyle|textstyle|limits|checkmark|square|blacksquare)(?![a-zA-Z])", ""),
        (r"\\(?:color|textcolor)\{[^{}]*\}", ""),
        (r"\\[dtc]frac", r"\\frac"),
        (r"\\[dt]binom", r"\\binom"),
        (r"\\(?:leqslant|leqq?)(?![a-z])", r"\\le"),
        (r"\\(?:geqslant|geqq?)(?![a-z])", r"\\ge"),
        (r"\\neq(?![a-z])", r"\\ne"),
        (r"\\(?:lt)(?![a-z])", "<"),
        (r"\\(?:gt)(?![a-z])", ">"),
        (r"\\(?:varnothing|O)(?![a-z])|\\\{\s*\\\}", r"\\emptyset"),
        (r"\\(?:lbrace|lbrack)(?![a-z])", r"\\{"),
        (r"\\(?:rbrace|rbrack)(?![a-z])", r"\\}"),
        (r"\\(?:pounds|euro)(?![a-z])|[€£¥₹]", ""),
        (
            r"\\(sin|cos|tan|cot|sec|csc)\s*[({]?\s*(\d+(?:\.\d+)?)\s*\^\s*\{?\s*\\circ\s*\}?\s*[)}]?",
            r"\\\1(\\frac{\2\\pi}{180})",
        ),
        (r"\\mathbb\s*\{?R\}?|\\R(?![a-z])|^\s*(?:\\text\{)?\s*(?i:all real numbers)\s*\}?\s*$", r"(-\\infty,\\infty)"),
        (r"(?<=\d)\s*\^\s*\{?\s*(?:\\(?:text|mathrm)\s*)?\{?(?:st|nd|rd|th)\}?\s*\}?", ""),
        (r"\^\s*\{?\s*\\(?:circ|degree)\s*\}?\s*(?:[CF]\b)?|\\degree(?![a-z])", " "),
        (r"\\%|%", r"\\%"),
        (r"\\(?:wedge|land)(?![a-z])", " and "),
        (r"\\(?:vee|lor)(?![a-z])", " or "),
        (r"\{,\}", ","),
    ]
]
_WRAPPED = re.compile(
    r"\\(?:text(?:bf|rm|it|sf|tt|normal)?|math(?:bf|rm|it|sf|tt|bb)|m?box|boldsymbol|bm|operatorname\*?|emph|underline)"
    r"\s*\{([^{}]*)\}"
)
_UNIT_IN_TEXT = re.compile(
    r"(?<=[\d})!])(\s*\\(?:text(?:rm|it|bf)?|mathrm|m?box)\{([^{}]*)\}(?:\s*\^\s*(?:\{-?\d\}|\d))?)+(?=\s*(?:$|[,;.)\]}]|\\text))"
)
_JOINS = re.compile(r"\b(?:and|or|if|when|where|mod|for|otherwise|with|to|in)\b|\b[apAP]\.?[mM]\b|[()]")
_FUNCTIONS = re.compile(
    r"(?<![\\a-zA-Z])(arc(?:sin|cos|tan)|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|ln|log|exp|pi|sqrt)(?![a-zA-Z])"
)
_CALL = re.compile(r"\\sqrt\s*\(([^()]*)\)")
_SQRT = re.compile(r"\\sqrt\s*(\w)")
_FRACTION = re.compile(r"\\(frac|binom)\s*(?:\{([^{}]*)\}|(\w))\s*(?:\{([^{}]*)\}|(\w))")
_OVER = re.compile(r"\{([^{}]*)\\(over|choose)(?![a-z])([^{}]*)\}")


def plain(text: str) -> str:
    r"""One spelling: ASCII digits and signs, no delimiters, spaces, fonts, currency or degrees; `\frac{a}{b}`.

    `\text{…}` becomes its words. Markdown, a full stop at the end and braces around everything go too.
    """
    text = _unicode(text)
    for pattern, becomes in _REWRITTEN:
        text = pattern.sub(becomes, text)
    text = _UNIT_IN_TEXT.sub(_without_unit, text)
    while (unwrapped := _WRAPPED.sub(r" \1 ", text)) != text:
        text = unwrapped
    text = _FUNCTIONS.sub(r"\\\1", text)
    text = _CALL.sub(r"\\sqrt{\1}", text)
    text = _SQRT.sub(r"\\sqrt{\1}", text)
    text = _OVER.sub(lambda found: _fraction("frac" if found[2] == "over" else "binom", found[1], found[3]), text)
    text = _FRACTION.sub(
        lambda f: _fraction(f[1], f[2] if f[3] is None else f[3], f[4] if f[5] is None else f[5]), text
    )
    text = re.sub(r"(?<=\d) +(?=i\b)", "", " ".join(text.split()))
    stripped = ""
    while stripped != text:
        stripped, text = text, text.strip(" *`").removesuffix(".").removesuffix(",").removesuffix(";")
        if text.startswith("{") and text.endswith("}") and _closes(text) == len(text) - 1:
            text = text[1:-1]
    return text


def _without_unit(found: re.Match[str]) -> str:
    return found[0] if _JOINS.search(found[0]) else ""


def _fraction(command: str, above: str, below: str) -> str:
    return rf"\{command}{{{above.strip()}}}{{{below.strip()}}}"


def _closes(text: str) -> int:
    depth = 0
    for place, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return place
    return -1


def _unicode(text: str) -> str:
    text = re.sub(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+", lambda found: "^{" + found[0].translate(_SUPERSCRIPTS) + "}", text)
    text = re.sub(r"[₀-₉]+", lambda found: "_{" + found[0].translate(_SUBSCRIPTS) + "}", text)
    text = "".join(map(_character, text))
    text = unicodedata.normalize("NFKC", text)
    text = _CHINESE_NUMBER.sub(lambda found: str(chinese_number(found[0])), text)
    return re.sub(r"\d", lambda digit: str(int(digit[0])), text)


def _character(character: str) -> str:
    if character.isascii():
        return character
    if unicodedata.category(character) == "No" and unicodedata.decomposition(character).startswith("<fraction>"):
        value = Fraction(unicodedata.numeric(character)).limit_denominator(100)
        return rf" \frac{{{value.numerator}}}{{{value.denominator}}}"
    return _SIGNS.get(character, character)


def chinese_number(text: str) -> int:
    """The value of a number in Chinese characters: 一百零三 is 103, 二〇二五 is 2025."""
    if not any(unit in text for unit in "十百千万亿"):
        return int("".join(str(_chinese_digit(digit)) for digit in text))
    total = section = digit = 0
    for character in text:
        if character in _CHINESE_UNITS:
            section += (digit or 1) * _CHINESE_UNITS[character]
            digit = 0
        elif character in "万亿":
            total = (total + section + digit) * (10_000 if character == "万" else 100_000_000)
            section = digit = 0
        else:
            digit = _chinese_digit(character)
    return total + section + digit


def _chinese_digit(character: str) -> int:
    return 2 if character == "两" else int(unicodedata.numeric(character))
