"""Identity: what makes two trajectories the same trajectory.

A trajectory is named by (sampler, prompt, draw). Everything that depends on the name is derived from it, the seed
included, so a repeated draw repeats and no two draws of one prompt share a seed.
"""

import hashlib
import json
from typing import Any

from infra.engine import Chat
from infra.sampler import Sampler

DRAWS_PER_ROUND = 1 << 32
"""Draw numbers of round r start at (r - 1) times this, so a later round whose prompt happens to equal an earlier
one (no message survived, or a message repeated itself) still draws anew."""


def fingerprint(value: Any) -> str:
    """32 hexadecimal digits of the SHA-256 of the value's canonical JSON."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def sampler_fingerprint(sampler: Sampler) -> str:
    """Fields left at their default do not enter, so a field added later keeps older fingerprints valid."""
    return fingerprint(sampler.model_dump(mode="json", exclude_defaults=True))


def prompt_fingerprint(chat: Chat) -> str:
    """The chat exactly as it is sent."""
    return fingerprint(chat)


def draw_number(round_number: int, run: int, width: int, k: int) -> int:
    """Draw of trajectory `k` (from 0) of `run` (from 0) in a round after the first (from 1)."""
    return (round_number - 1) * DRAWS_PER_ROUND + run * width + k


def trajectory_id(sampler: str, prompt: str, draw: int) -> str:
    """The key of a trajectory as one string."""
    return fingerprint([sampler, prompt, draw])


def seed_of(trajectory: str) -> int:
    """63 bits of the trajectory's id."""
    return int(trajectory[:16], 16) >> 1
