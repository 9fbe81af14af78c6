"""The tables of a store, and which of two rows with one key counts."""

import pyarrow as pa

from infra.table import Table, since

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
        since(1, "generation", pa.int32()),
    ]
)
"""One generation a row. `references`: ids of the trajectories whose messages stand in the prompt, in its order.
`overflow`: what was dropped or cut to make the prompt fit, null when nothing was. `error`: null for a finished one.
`generation`: 0, or that of the rerun that asked for it, see `tasks/store/reruns.py`."""

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
        since(1, "generation", pa.int32()),
        since(1, "committed", pa.timestamp("us", tz="UTC")),
    ]
)
"""One committed round of one run a row: the ids of its trajectories, and how many of `width` are missing.
`generation`: that of the newest rerun that its process knew of; what is asked for again later, it was not built on."""

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
        since(1, "generation", pa.int32()),
    ]
)
"""What a grader said of one generation's message. `truth`: fingerprint of the ground truth it was held against."""

JUDGEMENTS = pa.schema(
    [
        ("id", pa.string()),
        ("problem", pa.string()),
        ("generation", pa.int32()),
        ("grader", pa.string()),
        ("truth", pa.string()),
        ("vote", pa.int32()),
        ("correct", pa.bool_()),
        ("answer", pa.string()),
        ("reasoning", pa.large_string()),
        ("content", pa.large_string()),
        ("prompt_tokens", pa.int64()),
        ("completion_tokens", pa.int64()),
        ("seconds", pa.float64()),
        ("engine", pa.string()),
        ("error", pa.string()),
    ]
)
"""One vote of a judge on one generation's message, and what it cost. `correct`: null where `error` says why."""

RERUNS = pa.schema([("id", pa.string()), ("generation", pa.int32()), ("asked", pa.timestamp("us", tz="UTC"))])
"""A trajectory, or the commit of a round, asked for again: its rows of a lower generation do not count."""


def trajectories_table(store: str) -> Table:
    """Of one generation a finished row counts before a failed one, then the one that started first."""
    preference, texts = ["error", "started", "seconds", "engine"], ["message", "content", "reasoning"]
    return Table(store, "trajectories", TRAJECTORIES, ["id", "generation"], preference, texts)


def rounds_table(store: str) -> Table:
    """Of one generation the row that misses fewest, then the one committed first, see `tasks/store/rounds.py`."""
    key = ["recipe", "problem", "run", "round", "generation"]
    return Table(store, "rounds", ROUNDS, key, ["missing", "committed"], ["trajectories"])


def verdicts_table(store: str) -> Table:
    """A decided row counts before an ungraded one."""
    return Table(
        store, "verdicts", VERDICTS, ["id", "generation", "grader", "truth"], ["undecided", "outcome", "answer"]
    )


def judgements_table(store: str) -> Table:
    """Of one vote a row that can be read counts before one that can not."""
    return Table(store, "judgements", JUDGEMENTS, ["id", "generation", "grader", "truth", "vote"], ["error", "content"])


def reruns_table(store: str) -> Table:
    """The greatest generation of an id counts, see `tasks/store/reruns.py`."""
    return Table(store, "reruns", RERUNS, ["id", "generation"], ["asked"])


def partition_of(sampler: str) -> str:
    """All tables are partitioned by the sampler's fingerprint."""
    return f"sampler={sampler}"
