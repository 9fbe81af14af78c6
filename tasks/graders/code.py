r"""The `code` grader: the last Python block of a message, run on tests in `infra.sandbox`.

The ground truth is JSON, in one of two forms:

- `{"tests": [{"input": "1 2\n", "output": "3\n"}, …]}` for programs that read standard input and print; with
  `"fn_name": "add"`, `input` has one JSON argument a line for that function (of `Solution`, where there is such a
  class), and `output` is the JSON of what it returns.
- `{"public": …, "private": …, "fn_name": …}`, LiveCodeBench's own columns (arXiv 2403.07974), packed as they come.

Correct is what passes all tests; the reason says how many were passed, for the share (`share_passed`). Each test is a
process of its own; what a test should print is never where the submission runs. A submission has no vote.
"""

import base64
import io
import json
import pickle
import re
import time
import zlib
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from infra.sandbox import Limits, SandboxError, run_program
from tasks.graders import Verdict

LIMITS = Limits()
"""For one test."""

SECONDS = 300.0
"""Wall time for all tests of one submission; those that it leaves no time for are not passed."""

_BLOCK = re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*(\w*)[^\n]*\n(.*?)(?:^[ \t]*\1[ \t]*$|\Z)", re.DOTALL | re.MULTILINE)
_PASSED = re.compile(r"(\d+) of (\d+) tests passed")

PRELUDE = """
import bisect, collections, copy, datetime, functools, heapq, io, itertools, json, math, operator, random, re
import statistics, string, sys, typing
from bisect import *
from collections import *
from copy import *
from functools import *
from heapq import *
from itertools import *
from math import *
from random import *
from string import *
from typing import *
from builtins import *
"""
"""What contest sites have imported for a submission."""

CALL = """
def _answer():
    import json as _json, sys as _sys
    given = [_json.loads(line) for line in _sys.stdin.read().splitlines() if line.strip()]
    output, _sys.stdout = _sys.stdout, _sys.stderr
    scope = globals()
    function = getattr(Solution(), {name!r}) if "Solution" in scope else scope[{name!r}]
    _json.dump(function(*given), output)
    output.flush()

_answer()
"""


def grade(ground_truth: str, message: str) -> Verdict:
    """Run the message's code on every test.

    Returns:
        `ungraded` where there is no sandbox; `wrong`, with the reason, for whatever the code tries in it. After a
        test that breaks a limit the rest are not run, and so not passed.
    """
    code = last_block(message)
    if code is None:
        return Verdict("wrong", None, "no code found")
    tests, name = _tests(ground_truth)
    program = PRELUDE + code + (CALL.format(name=name) if name else "")
    deadline = time.monotonic() + SECONDS
    passed, first_failure = 0, ""
    for number, (given, expected) in enumerate(tests, 1):
        if time.monotonic() > deadline:
            first_failure = first_failure or f"test {number}: no time left after {SECONDS:g} s"
            break
        try:
            ran = run_program(program, given.encode(), LIMITS)
        except SandboxError as error:
            return Verdict("ungraded", None, str(error))
        matches = _returned(ran.output, expected) if name else _printed(ran.output, expected)
        if ran.failure is None and matches:
            passed += 1
            continue
        first_failure = first_failure or f"test {number}: {ran.failure or 'another output'}"
        if ran.out_of_limits:
            break
    reason = f"{passed} of {len(tests)} tests passed"
    return Verdict("wrong", None, f"{reason}; {first_failure}") if first_failure else Verdict("correct", None, reason)


def share_passed(verdict: Verdict) -> float:
    """The share of tests that a graded submission passed, 0 … 1."""
    found = _PASSED.match(verdict.reason)
    return int(found[1]) / int(found[2]) if found else 0.0


def last_block(message: str) -> str | None:
    """The last fenced block of Python, or of no language; None without one."""
    blocks = [
        body for _, language, body in _BLOCK.findall(message) if language.lower() in ("", "python", "py", "python3")
    ]
    return blocks[-1] if blocks and blocks[-1].strip() else None


@lru_cache(maxsize=8)
def _tests(ground_truth: str) -> tuple[list[tuple[str, str]], str | None]:
    truth = json.loads(ground_truth)
    tests = truth.get("tests")
    if tests is None:
        tests = [*_unpacked(truth.get("public")), *_unpacked(truth.get("private"))]
    if not tests:
        raise ValueError("the ground truth has no tests")
    return [(test["input"], test["output"]) for test in tests], truth.get("fn_name")


def _unpacked(packed: Any) -> list[dict[str, str]]:
    if not isinstance(packed, str):
        return packed or []
    try:
        tests = json.loads(packed)
    except ValueError:
        tests = json.loads(_OnlyText(io.BytesIO(zlib.decompress(base64.b64decode(packed)))).load())
    return list(tests)


class _OnlyText(pickle.Unpickler):
    """LiveCodeBench packs text with pickle, which could call anything: here it can not."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"tests are text, not {module}.{name}")


def _returned(output: bytes, expected: str) -> bool:
    try:
        return bool(json.loads(output) == json.loads(expected))
    except (ValueError, RecursionError):
        return False


def _printed(output: bytes, expected: str) -> bool:
    """Equal line by line, up to white space around them and the spelling of numbers (`1.0`, `1.00`)."""
    lines, wanted = output.decode(errors="replace").strip().split("\n"), expected.strip().split("\n")
    return len(lines) == len(wanted) and all(map(_same_line, lines, wanted))


def _same_line(line: str, wanted: str) -> bool:
    if line.strip() == wanted.strip():
        return True
    try:
        return [Decimal(word) for word in line.split()] == [Decimal(word) for word in wanted.split()]
    except InvalidOperation:
        return False
