"""One step of the funnel: what is left of a file of candidates, and why the rest was dropped."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from tasks.curation.candidate import Candidate, read_candidates, write_candidates

Drop = Callable[[Candidate], str | None]
"""Why a candidate is dropped; None where it is kept."""


@dataclass(frozen=True)
class Step:
    """Counts of one step: what is left by source, what was dropped by reason."""

    name: str
    left: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)


def sift(name: str, candidates: Iterable[Candidate], drop: Drop, after: str) -> Step:
    """Write what is kept of the candidates to the file `after`. Raises `StoreError`."""
    step = Step(name)

    def kept() -> Iterator[Candidate]:
        for candidate in candidates:
            if reason := drop(candidate):
                step.dropped[reason] += 1
            else:
                step.left[candidate.source] += 1
                yield candidate

    write_candidates(after, kept())
    return step


def sift_file(name: str, before: str, drop: Drop, after: str) -> Step:
    """The same for the candidates of a file."""
    return sift(name, read_candidates(before), drop, after)
