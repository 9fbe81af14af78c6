"""The paper's own figures, shown beside measured ones and marked as quoted."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

PAPER = Path(__file__).with_name("paper.yaml")


@dataclass(frozen=True, slots=True)
class Quoted:
    """One of the paper's rows. `values`: by benchmark, accuracy in percent and, where given, TTC in tokens."""

    model: str
    method: str
    values: dict[str, tuple[float, float | None]]


def quoted(table: str) -> list[Quoted]:
    """The rows of `table_1`, `table_2` or `table_8`."""
    return [
        Quoted(
            row["model"],
            row["method"],
            {
                name: (value[0], 1000 * value[1] if len(value) > 1 else None)
                for name, value in row.items()
                if name not in ("model", "method")
            },
        )
        for row in _paper()[table]
    ]


def heading(benchmark: str) -> str:
    """What the paper calls a benchmark; its own name where the paper has it not."""
    return str(_paper()["benchmarks"].get(benchmark, benchmark))


@lru_cache(maxsize=1)
def _paper() -> dict[str, Any]:
    return dict(yaml.safe_load(PAPER.read_text(encoding="utf-8")))
