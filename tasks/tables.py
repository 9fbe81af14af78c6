"""The three tables of a store, and which of two rows with one key counts."""

import pyarrow as pa

from infra.table import Table

TRAJECTORIES = pa.schema(
    [
        ("id", pa.string()),
        ("problem", pa.string()),
        ("prompt", pa.string()),
        ("round", pa.int32()),
        ("draw", pa.int64()),
        ("seed", pa.int64()),
        ("model", pa.string()),
        ("reasoning", pa.large_string()),
        ("content", pa.large_string()),
        ("message", pa.large_string()),
        ("finish_reason", pa.string()),
        ("prompt_tokens", pa.int64()),
        ("cached_tokens", pa.int64()),
        ("completion_tokens", pa.int64()),
        ("reasoning_tokens", pa.int64()),
        ("references", pa.list_(pa.string())),
        ("overflow", pa.string()),
        ("engine", pa.string()),
        ("started", pa.timestamp("us", tz="UTC")),
        ("seconds", pa.float64()),
        ("attempts", pa.int32()),
        ("error", pa.string()),
    ]
)
"""One generation a row. `references`: ids of the trajectories whose messages stand in the prompt, in its order.
`overflow`: what was dropped or cut to make the prompt fit, null when nothing was. `error`: null for a finished one."""

ROUNDS = pa.schema(
    [
        ("recipe", pa.string()),
        ("method", pa.string()),
        ("problem", pa.string()),
        ("problem_id", pa.string()),
        ("run", pa.int32()),
        ("round", pa.int32()),
        ("width", pa.int32()),
        ("trajectories", pa.list_(pa.string())),
        ("missing", pa.int32()),
    ]
)
"""One committed round of one run a row: the ids of its trajectories, and how many of `width` are missing."""

VERDICTS = pa.schema(
    [
        ("id", pa.string()),
        ("problem", pa.string()),
        ("grader", pa.string()),
        ("truth", pa.string()),
        ("undecided", pa.bool_()),
        ("outcome", pa.string()),
        ("answer", pa.string()),
        ("reason", pa.string()),
    ]
)
"""What a grader said of one trajectory's message. `truth`: fingerprint of the ground truth it was held against."""


def trajectories_table(store: str) -> Table:
    """A finished row counts before a failed one, then the one that started first."""
    return Table(store, "trajectories", TRAJECTORIES, ["id"], ["error", "started", "seconds", "engine"])


def rounds_table(store: str) -> Table:
    """The row that misses fewest counts."""
    return Table(store, "rounds", ROUNDS, ["recipe", "problem", "run", "round"], ["missing"])


def verdicts_table(store: str) -> Table:
    """A decided row counts before an ungraded one."""
    return Table(store, "verdicts", VERDICTS, ["id", "grader", "truth"], ["undecided", "outcome", "answer"])


def partition_of(sampler: str) -> str:
    """All three tables are partitioned by the sampler's fingerprint."""
    return f"sampler={sampler}"
