"""How far this process is with a campaign."""

import time
from dataclasses import dataclass, field

ENOUGH = 50
"""Trajectories after which the time left can be guessed."""


@dataclass
class Progress:
    """Counts of trajectories and completion tokens. `before`: what the store held when this process began."""

    planned: int
    before: int
    finished: int = 0
    failed: int = 0
    tokens: int = 0
    began: float = field(default_factory=time.monotonic)

    @property
    def done(self) -> int:
        """Trajectories in the store or on their way to it."""
        return min(self.before + self.finished, self.planned)

    def settle(self) -> None:
        """The end: what was planned twice, because two methods share it, was done once."""
        if not self.failed:
            self.planned = self.done

    @property
    def percent(self) -> float:
        """Of the planned trajectories."""
        return 100 * self.done / self.planned

    def line(self) -> str:
        """One line: counts, tokens, rate, time left."""
        seconds = max(time.monotonic() - self.began, 1e-9)
        parts = [
            f"{self.done:,} of {self.planned:,} trajectories",
            f"{self.tokens:,} tokens, {self.tokens / seconds:,.0f} a second",
        ]
        if self.failed:
            parts.append(f"{self.failed:,} failed")
        if self.finished >= ENOUGH and self.done < self.planned:
            left = (self.planned - self.done) * seconds / self.finished
            parts.append(f"about {_duration(left)} left")
        return "; ".join(parts)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
