"""How the rows of published benchmarks become problems, where it takes more than to name columns."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from infra.engine import Chat
from tasks.benchmarks.card import Shape
from tasks.fingerprint import fingerprint

Row = dict[str, Any]

FROM, UNTIL = "2024-08-01", "2025-05-31"
"""Contests of LiveCodeBench that the paper takes."""


@dataclass(frozen=True)
class Shaped:
    """A row in this project's words. `group`: the part of the benchmark that its score counts apart, if any."""

    id: str
    chat: Chat
    answer: str
    group: str = ""


def gpqa(row: Row, seed: int) -> Shaped:
    """Four choices in an order that follows from the seed and the question; the letter of the right one."""
    right = row["Correct Answer"].strip()
    choices = [right, *(row[f"Incorrect Answer {number}"].strip() for number in (1, 2, 3))]
    random.Random(f"{seed}/{row['Record ID']}").shuffle(choices)
    lines = [f"({letter}) {choice}" for letter, choice in zip("ABCD", choices, strict=True)]
    question = "\n\n".join([row["Question"].strip(), "\n".join(lines)])
    return Shaped(row["Record ID"], _asked(question), "ABCD"[choices.index(right)])


def gsm8k(row: Row, seed: int) -> Shaped:
    """The answer is what follows `####` in the solution; a question is known by its text."""
    return Shaped(
        fingerprint(row["question"])[:12], _asked(row["question"]), row["answer"].rpartition("####")[2].strip()
    )


def hle(row: Row, seed: int) -> Shaped | None:
    """Questions without an image."""
    return None if row["image"] else Shaped(row["id"], _asked(row["question"]), row["answer"])


def livecodebench(row: Row, seed: int) -> Shaped | None:
    """Contests of the paper's months; the tests stay packed until they are run (`tasks/graders/code.py`)."""
    if not FROM <= row["contest_date"][:10] <= UNTIL:
        return None
    starter = row.get("starter_code") or ""
    how = (
        f"Complete this code, in one Python block:\n\n```python\n{starter}\n```"
        if starter
        else "Read the input from standard input and print the answer. Give the whole program, in one Python block."
    )
    name = json.loads(row["metadata"] or "{}").get("func_name")
    tests = {"public": row["public_test_cases"], "private": row["private_test_cases"], "fn_name": name}
    return Shaped(row["question_id"], _asked(f"{row['question_content']}\n\n{how}"), json.dumps(tests))


def multichallenge(row: Row, seed: int) -> Shaped:
    """A conversation, a question about its last answer, and whether the answer to that should be yes or no."""
    criterion = {"criterion": row["TARGET_QUESTION"], "expected": row["PASS_CRITERIA"].strip().lower()}
    turns = [{"role": turn["role"], "content": turn["content"]} for turn in row["CONVERSATION"]]
    return Shaped(row["QUESTION_ID"], turns, json.dumps(criterion), group=row["AXIS"])


def _asked(question: str) -> Chat:
    return [{"role": "user", "content": question}]


SHAPES: dict[Shape, Callable[[Row, int], Shaped | None]] = {
    "gpqa": gpqa,
    "gsm8k": gsm8k,
    "hle": hle,
    "livecodebench": livecodebench,
    "multichallenge": multichallenge,
}
"""A row and a seed → a problem, or None where the benchmark leaves the row out; KeyError where a column is missing."""
