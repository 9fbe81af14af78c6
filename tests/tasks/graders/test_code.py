import base64
import json
import pickle
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from infra import sandbox
from tasks.graders import code
from tasks.graders.code import grade, last_block, share_passed
from tasks.graders.grading_pool import GradingPool
from tests.needs import need_bubblewrap


@pytest.fixture(autouse=True)
def _bubblewrap(monkeypatch: pytest.MonkeyPatch) -> None:
    need_bubblewrap()
    monkeypatch.setattr(code, "LIMITS", sandbox.Limits(cpu_seconds=2, wall_seconds=6))


def truth(*tests: tuple[str, str], **keys: Any) -> str:
    return json.dumps({"tests": [{"input": given, "output": output} for given, output in tests], **keys})


def fenced(program: str) -> str:
    return f"Here it is:\n```python\n{program}\n```\nIt adds."


ADD = truth(("1 2", "3"), ("2 2\n", "4\n"), ("-1 1", "0"))
CALLED = truth(("1\n2", "3"), ('"a"\n"b"', '"ab"'), ("[1]\n[2]", "[1, 2]"), fn_name="add")


@pytest.mark.parametrize(
    ("program", "outcome", "reason"),
    [
        ("a, b = map(int, input().split())\nprint(a + b)", "correct", "3 of 3 tests passed"),
        ("print(sum(map(float, input().split())))", "correct", "3 of 3 tests passed"),
        ("print(sum(map(int, input().split())), ' ')", "correct", "3 of 3 tests passed"),
        ("print(4)", "wrong", "1 of 3 tests passed; test 1: another output"),
        ("print(3)\nprint()\nprint(4)", "wrong", "0 of 3 tests passed; test 1: another output"),
        ("a, b = map(int, input().split())\nprint(a + b)\n1 / 0", "wrong", "0 of 3 tests passed; test 1: ZeroDivision"),
        ("def f(:", "wrong", "0 of 3 tests passed; test 1: SyntaxError"),
        (
            "import sys\nif sys.stdin.read()[0] == '2': print(4)\nelse: sys.exit(1)",
            "wrong",
            "1 of 3 tests passed; test 1: exit",
        ),
    ],
)
def test_a_program_is_run_on_every_test(program: str, outcome: str, reason: str) -> None:
    verdict = grade(ADD, fenced(program))
    assert (verdict.outcome, verdict.answer) == (outcome, None)
    assert verdict.reason.startswith(reason)


@pytest.mark.parametrize(
    "program",
    [
        "class Solution:\n    def add(self, a, b):\n        return a + b",
        "def add(a, b):\n    print('noise')\n    return a + b",
        "def add(a: List[int], b: Optional[int]):\n    return reduce(lambda x, y: x + y, [a, b])",
    ],
)
def test_a_function_is_called_with_arguments_and_its_return_compared(program: str) -> None:
    assert grade(CALLED, fenced(program)).reason == "3 of 3 tests passed"


@pytest.mark.parametrize(
    "program", ["def add(a, b):\n    return a", "def sub(a, b):\n    return a", "def add(a, b):\n    return {1}"]
)
def test_a_function_that_is_wrong_missing_or_returns_no_json_is_wrong(program: str) -> None:
    assert grade(CALLED, fenced(program)).outcome == "wrong"


def test_a_tuple_is_a_list() -> None:
    assert grade(truth(("1", "[1, 1]"), fn_name="f"), fenced("def f(a):\n    return a, a")).outcome == "correct"


def test_the_share_of_tests_is_told() -> None:
    assert share_passed(grade(ADD, fenced("print(4)"))) == pytest.approx(1 / 3)
    assert share_passed(grade(ADD, "no code")) == 0


def test_tests_packed_as_livecodebench_packs_them_are_unpacked() -> None:
    public = json.dumps([{"input": "1 2", "output": "3", "testtype": "stdin"}])
    private = json.dumps([{"input": "5 5", "output": "10", "testtype": "stdin"}])
    packed = base64.b64encode(zlib.compress(pickle.dumps(private))).decode()
    ground_truth = json.dumps({"public": public, "private": packed, "fn_name": None})
    assert grade(ground_truth, fenced("print(sum(map(int, input().split())))")).reason == "2 of 2 tests passed"


def test_packed_tests_can_call_nothing() -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return print, ("called",)

    packed = base64.b64encode(zlib.compress(pickle.dumps(Evil()))).decode()
    with pytest.raises(pickle.UnpicklingError, match="tests are text"):
        grade(json.dumps({"private": packed}), fenced("1"))


@pytest.mark.parametrize(
    ("message", "body"),
    [
        ("```python\n1\n```\n```python\n2\n```", "2\n"),
        ("```\n1\n```", "1\n"),
        ("```py\n1\n```\n```text\n2\n```", "1\n"),
        ("```python\n1", "1"),
        ("~~~python\n1\n~~~", "1\n"),
        ("````python\ns = '''\n```\n'''\n````", "s = '''\n```\n'''\n"),
        ("print(1)", None),
        ("```cpp\nint main;\n```", None),
        ("```python\n\n```", None),
    ],
)
def test_the_last_block_of_python_counts(message: str, body: str | None) -> None:
    assert last_block(message) == body


def test_a_message_without_code_is_wrong() -> None:
    assert grade(ADD, "I can not.").reason == "no code found"


ATTACKS = {
    "fork bomb": ("import os\nwhile True: os.fork()", "Operation not permitted"),
    "10 GB": ("x = bytearray(10 * 2**30)\nprint(3)", "needed more than 2 GiB of memory"),
    "endless output": ("while True: print('x' * 10000)", "wrote more than 16 MiB"),
    "endless loop": ("while True: pass", "s"),
    "sleep": ("import time\ntime.sleep(1000)", "no end after 6 s"),
    "the host's files": ("print(open('/etc/shadow').read())", "No such file"),
    "network": ("import socket\nsocket.create_connection(('127.0.0.1', 80))", "Operation not permitted"),
    "writing outside": ("open('/usr/lib/x', 'w')", "Error"),
    "killing the parent": ("import os\nos.kill(os.getppid(), 9)", "Error"),
    "a child that outlives it": ("import os, time\nif os.fork() == 0: time.sleep(999)", "Operation not permitted"),
    "reading the tests": (
        "import gc\nprint([o for o in gc.get_objects() if type(o) is dict and 'output' in o])",
        "another output",
    ),
}


@pytest.fixture(scope="module")
def pool() -> Iterator[GradingPool]:
    with GradingPool("code", workers=2) as pool:
        yield pool


def test_every_attack_is_wrong_with_the_reason_and_the_run_goes_on(pool: GradingPool) -> None:
    good = fenced("print(sum(map(int, input().split())))")
    messages = [message for program, _ in ATTACKS.values() for message in (fenced(program), good)]
    verdicts = pool.grade([(ADD, message) for message in messages])
    assert {verdict.outcome for verdict in verdicts[1::2]} == {"correct"}
    for name, verdict in zip(ATTACKS, verdicts[::2], strict=True):
        assert verdict.outcome == "wrong", name
        assert "0 of 3 tests passed; test 1: " in verdict.reason, name


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_told_by_what_it_did(name: str) -> None:
    program, reason = ATTACKS[name]
    assert reason in grade(ADD, fenced(program)).reason


def test_all_tests_together_have_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "SECONDS", 0.0)
    assert grade(ADD, fenced("print(3)")).reason == "0 of 3 tests passed; test 1: no time left after 0 s"


def test_without_a_sandbox_code_is_ungraded_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_missing", lambda: "bubblewrap is not installed: apt install bubblewrap")
    verdict = grade(ADD, fenced("print(3)"))
    assert verdict.outcome == "ungraded"
    assert "apt install bubblewrap" in verdict.reason
