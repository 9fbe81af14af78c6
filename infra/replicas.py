"""Which of several equal servers gets a request."""

import time
from collections.abc import Callable, Mapping
from hashlib import blake2b

COOL_SECONDS = 15.0
"""How long a server that failed is left alone while others can answer."""


class Replicas:
    """Servers ranked by rendezvous hash: one prompt keeps meeting one prefix cache, whoever comes or goes.

    Knows only the failures that it is told of: it asks no server for its health and counts no load.
    """

    def __init__(self, urls: tuple[str, ...], clock: Callable[[], float] = time.monotonic) -> None:
        self.urls = urls
        self._clock = clock
        self._cool_until: dict[str, float] = {}

    def choose(self, prompt: bytes, tried: Mapping[str, int]) -> str:
        """The best server for a prompt: least tried for this request, then not cooling, then by hash."""
        now = self._clock()

        def rank(url: str) -> tuple[int, bool, bytes]:
            score = blake2b(prompt, key=blake2b(url.encode(), digest_size=16).digest(), digest_size=8)
            return tried.get(url, 0), self._cool_until.get(url, now) > now, score.digest()

        return self.urls[0] if len(self.urls) == 1 else min(self.urls, key=rank)

    def failed(self, url: str) -> None:
        """Leave a server alone for `COOL_SECONDS`."""
        self._cool_until[url] = self._clock() + COOL_SECONDS
