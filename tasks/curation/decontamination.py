"""Decontamination: no problem may be that of a benchmark, nor share a long passage with one (Appendix C)."""

import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from tasks.curation.candidate import Candidate

GRAM = 64
"""Tokens of a passage. A token is a run of letters and digits, or one other character that is no white space."""

_TOKEN = re.compile(r"[a-z0-9]+|[^\sa-z0-9]")
_DIGIT = re.compile(r"\d")
_FACTOR = 6364136223846793005
_INVERSE = pow(_FACTOR, -1, 1 << 64)


class Contamination:
    """What benchmarks hold, as hashes: its memory grows with them, not with what is held against them."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._masked: set[str] = set()
        grams = [np.zeros(0, np.uint64)]
        for text in texts:
            tokens = _tokens(text)
            self._masked.add(_masked(tokens))
            grams.append(_grams(tokens))
        self._grams = np.unique(np.concatenate(grams))

    def of(self, candidate: Candidate) -> str | None:
        """What a problem shares with a benchmark; None for nothing.

        `exact match`: it is one of its problems, but for digits, case and white space. `64-gram overlap`: a passage of
        64 tokens stands in one of them (by 64-bit hash).
        """
        tokens = _tokens(candidate.question)
        if _masked(tokens) in self._masked:
            return "exact match"
        if self._grams.size and len(tokens) >= GRAM:
            grams = _grams(tokens)
            places = np.minimum(np.searchsorted(self._grams, grams), self._grams.size - 1)
            if (self._grams[places] == grams).any():
                return f"{GRAM}-gram overlap"
        return None


def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(text.lower())


def _masked(tokens: list[str]) -> str:
    return _DIGIT.sub("0", " ".join(tokens))


def _grams(tokens: list[str]) -> NDArray[np.uint64]:
    """Shape (max(0, N - 63),): a hash of every 64 tokens in a row, rolling, modulo 2⁶⁴."""
    if len(tokens) < GRAM:
        return np.zeros(0, np.uint64)
    hashes = np.fromiter(map(hash, tokens), np.int64, len(tokens)).view(np.uint64)
    ends = np.cumsum(hashes * _powers(_FACTOR, len(tokens)), dtype=np.uint64)
    starts = np.concatenate([np.zeros(1, np.uint64), ends[:-GRAM]])
    rolled: NDArray[np.uint64] = (ends[GRAM - 1 :] - starts) * _powers(_INVERSE, len(starts))
    return rolled


def _powers(factor: int, count: int) -> NDArray[np.uint64]:
    powers = np.full(count, factor, np.uint64)
    powers[0] = 1
    return np.cumprod(powers, dtype=np.uint64)
