"""Text of a model, shown as data: nothing in it is obeyed, by a terminal or by a reader of pages."""

import re

MARKDOWN = set("\\`*_[]<>|#$~!&")
_COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters but for tab and line feed, and what reverses the direction of reading."""


def printable(text: str) -> str:
    """The text with signs in the place of control characters: ␛ for escape, � where there is no sign."""
    return _COMMANDS.sub(lambda found: _sign(ord(found[0])), text)


def _sign(code: int) -> str:
    return chr(0x2400 + code) if code < 0x20 else "␡" if code == 0x7F else "�"


def cut(text: str, characters: int) -> tuple[str, int]:
    """The text or, where it is longer, its beginning; and how many characters of it are left out."""
    return text[:characters], max(0, len(text) - characters)


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    escaped = "".join(f"\\{one}" if one in MARKDOWN else one for one in printable(text))
    return " ".join(escaped.split())
