"""Which problems a model may be trained on."""

import hashlib
from typing import Literal

Split = Literal["train", "validation", "test"]


def split_of(canonical: str) -> Split:
    """The one split that a problem belongs to: 80 % train, 10 % validation, 10 % test.

    It is a property of the canonical problem, not of a seed or a wording: a problem that is generated twice, by anyone,
    falls on the same side.
    """
    bucket = hashlib.sha256(canonical.encode()).digest()[0] % 10
    return "train" if bucket < 8 else "validation" if bucket == 8 else "test"
