import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.graders import Verdict
from tasks.graders.grading_pool import GradingPool

OWN_GRADER = """
import os, signal, time
from tasks.graders import Verdict

def grade(ground_truth, message):
    if message == "hang":
        while True:
            pass
    if message == "sleep":
        time.sleep(1000)
    if message == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if message == "exit":
        raise SystemExit(3)
    if message == "memory":
        bytearray(8 * 2**30)
    if message == "raise":
        raise ValueError("no such thing\\nsecond line")
    if message == "nothing":
        return None
    if message == "print":
        print("not for the report")
    if message == "main":
        return Verdict("wrong", __import__("sys").modules["__main__"].__name__, "")
    if message == "count":
        with open(ground_truth, "a") as file:
            file.write("x")
    return Verdict("correct" if message == ground_truth else "wrong", message, f"by {os.getpid()}")
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An own grader, importable in this test; its first use waits for the worker's start."""
    (tmp_path / "own_grader.py").write_text(OWN_GRADER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_grader", raising=False)
    return "own_grader:grade"


@pytest.fixture
def pool(own: str) -> Iterator[GradingPool]:
    with GradingPool(own, workers=2, seconds=1) as pool:
        yield pool


def outcomes(verdicts: list[Verdict]) -> list[str]:
    return [verdict.outcome for verdict in verdicts]


def test_verdicts_come_in_the_order_of_the_pairs(pool: GradingPool) -> None:
    verdicts = pool.grade([("7", str(number)) for number in range(50)])
    assert [verdict.answer for verdict in verdicts] == [str(number) for number in range(50)]
    assert [verdict.answer for verdict in verdicts if verdict.outcome == "correct"] == ["7"]


def test_no_pairs_need_no_worker(pool: GradingPool) -> None:
    assert pool.grade([]) == []


def test_a_grade_that_hangs_is_ungraded_and_the_others_go_on(pool: GradingPool) -> None:
    messages = ["7", "hang", "7 ", "hang ", "sleep", "8", "9"]
    verdicts = pool.grade([("7", message) for message in messages])
    assert outcomes(verdicts) == ["correct", "ungraded", "wrong", "wrong", "ungraded", "wrong", "wrong"]
    assert verdicts[1] == verdicts[4] == Verdict("ungraded", None, "timed out after 1 s")


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("crash", "the grader's process was killed by SIGSEGV"),
        ("exit", "the grader's process ended with status 3"),
        ("raise", "ValueError: no such thing"),
        ("nothing", "the grader returned NoneType, not a Verdict"),
        pytest.param(
            "memory",
            "the grader needed more than 4 GiB",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds the memory of a process"),
        ),
    ],
)
def test_a_grader_that_fails_leaves_its_pair_ungraded_with_the_reason(
    pool: GradingPool, message: str, reason: str
) -> None:
    failed, other = pool.grade([("7", message), ("7", "7")])
    assert failed == Verdict("ungraded", None, reason)
    assert other.outcome == "correct"


def test_equal_pairs_are_graded_once(pool: GradingPool, tmp_path: Path) -> None:
    counts = tmp_path / "counts"
    pool.grade([(str(counts), "count")] * 20)
    assert counts.read_text() == "x"


def test_a_message_of_a_megabyte_passes(pool: GradingPool) -> None:
    assert pool.grade([("7" * 1_000_000, "7" * 1_000_000)])[0].outcome == "correct"


def test_workers_are_kept_from_one_call_to_the_next(own: str) -> None:
    with GradingPool(own, workers=1) as pool:
        assert pool.grade([("1", "1")])[0].reason == pool.grade([("2", "2")])[0].reason


def test_a_worker_that_died_between_two_calls_is_replaced(own: str) -> None:
    with GradingPool(own, workers=1) as pool:
        first = int(pool.grade([("1", "1")])[0].reason.removeprefix("by "))
        os.kill(first, signal.SIGKILL)
        time.sleep(0.1)
        assert outcomes(pool.grade([("2", "2")])) == ["correct"]


def test_what_a_grader_prints_stays_out_of_standard_output(
    pool: GradingPool, capfd: pytest.CaptureFixture[str]
) -> None:
    pool.grade([("7", "print")])
    assert capfd.readouterr().out == ""


def test_several_threads_may_share_a_pool(pool: GradingPool) -> None:
    found: dict[int, list[Verdict]] = {}

    def grade(number: int) -> None:
        found[number] = pool.grade([(str(number), str(other)) for other in range(5)])

    threads = [threading.Thread(target=grade, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all([verdict.outcome for verdict in found[number]].index("correct") == number for number in range(5))


def test_closing_ends_a_call_under_way_with_an_error_and_not_with_verdicts(own: str) -> None:
    pool = GradingPool(own, workers=1, seconds=60)
    threading.Timer(1.5, pool.close).start()
    started = time.monotonic()
    with pytest.raises(RuntimeError, match="closed"):
        pool.grade([("7", "sleep")])
    assert time.monotonic() - started < 20


def test_a_closed_pool_grades_no_more(own: str) -> None:
    pool = GradingPool(own)
    pool.close()
    with pytest.raises(RuntimeError, match="closed"):
        pool.grade([("7", "7")])


def test_a_worker_that_cannot_start_is_an_error_and_not_a_verdict(own: str, tmp_path: Path) -> None:
    with GradingPool(own) as pool:
        (tmp_path / "own_grader.py").write_text("raise SystemExit(5)")
        with pytest.raises(RuntimeError, match="did not start"):
            pool.grade([("7", "7")])


def test_an_unknown_grader_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="choice, code, countdown, exact, game24, math, patch"):
        GradingPool("exakt")


@pytest.mark.parametrize(("name", "pair"), [("exact", ("7", "7")), ("game24", ("24", "Answer: 24"))])
def test_a_grader_that_cannot_hang_needs_no_worker(name: str, pair: tuple[str, str]) -> None:
    with GradingPool(name) as pool:
        assert outcomes(pool.grade([pair])) == ["correct"]
        assert pool._workers == []


def test_a_script_without_a_main_guard_may_grade(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from tasks.graders.grading_pool import GradingPool\n"
        "print(GradingPool('math').grade([('16', '016')])[0].outcome)"
    )
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, script], env=paths, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "correct\n"


def test_workers_end_with_the_process_that_started_them(own: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, signal\nfrom tasks.graders.grading_pool import GradingPool\n"
        f"print(GradingPool({own!r}, workers=1).grade([('1', '1')])[0].reason, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, script], env=paths, capture_output=True, text=True, timeout=60)
    worker = int(done.stdout.removeprefix("by "))
    deadline = time.monotonic() + 10
    while _is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _is_running(worker)


def _is_running(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(state) and not state.startswith("Z")
