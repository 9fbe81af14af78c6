"""What a file says, short enough to be quoted in a line about it."""

import reprlib
from typing import Any

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother, _SHORT.maxlong = 3, 200, 200, 200


def quoted(value: Any) -> str:
    """The value's repr, cut in the middle where it is long."""
    return _SHORT.repr(value)
