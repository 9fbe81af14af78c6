"""The sandbox, by what programs try in it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra import sandbox
from infra.sandbox import UNSAFE, Limits, SandboxError, run_program
from tests.needs import need_bubblewrap

LIMITS = Limits(cpu_seconds=2, wall_seconds=6)


@pytest.fixture(autouse=True)
def _bubblewrap() -> None:
    need_bubblewrap()


def failure_of(program: str, limits: Limits = LIMITS) -> str:
    """How a program fails; it may not have printed `through`."""
    ran = run_program(program, limits=limits)
    assert b"through" not in ran.output
    assert ran.failure is not None
    return ran.failure


def test_a_program_reads_its_input_and_prints() -> None:
    assert run_program("print(int(input()) + 1)", b"41").output == b"42\n"


def test_it_has_the_standard_library_and_numpy_and_threads() -> None:
    program = "import threading, numpy, json; threading.Thread(target=lambda: print(numpy.arange(3).sum())).start()"
    assert run_program(program).output == b"3\n"


@pytest.mark.parametrize(("program", "failure"), [("exit()", None), ("exit(3)", "exit status 3")])
def test_an_exit_status_other_than_zero_is_a_failure(program: str, failure: str | None) -> None:
    assert run_program(program).failure == failure


def test_an_error_is_told_in_its_last_line() -> None:
    assert failure_of("print(1)\n1 / 0") == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    "program",
    [
        "import os\nwhile True:\n    os.fork()",
        "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass",
        "import multiprocessing\nmultiprocessing.Process(target=print, args=('through',)).start()",
        "import subprocess\nprint('through', subprocess.run(['/bin/true']))",
        "import os\nos.posix_spawn('/bin/true', ['true'], {})\nprint('through')",
    ],
)
def test_a_fork_bomb_forks_nothing(program: str) -> None:
    assert failure_of(program)


def test_a_bomb_of_threads_stays_within_its_number() -> None:
    program = (
        "import threading, time\nn = 0\n"
        "try:\n    while True:\n        threading.Thread(target=time.sleep, args=(3,), daemon=True).start(); n += 1\n"
        "except RuntimeError:\n    print(n)"
    )
    assert int(run_program(program, limits=LIMITS).output) < LIMITS.threads


@pytest.mark.parametrize(
    "program",
    [
        "bytearray(10 * 2**30)",
        "x = [bytes(2**20)]\nwhile True:\n    x.append(x[-1] + b'x')",
        "import numpy\nnumpy.ones(2**30)",
    ],
)
def test_ten_gigabytes_are_not_given(program: str) -> None:
    assert "memory" in failure_of(program, Limits(memory=2**29)).lower()


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_endless_output_is_cut_and_fails(stream: str) -> None:
    failure = failure_of(f"import sys\nwhile True:\n    sys.{stream}.write('x' * 10_000)")
    assert failure == "wrote more than 16 MiB"


@pytest.mark.parametrize(
    "program",
    [
        "while True:\n    pass",
        "import signal\nfor s in {1, 2, 15, 24}: signal.signal(s, signal.SIG_IGN)\nwhile True: pass",
        "import time\ntime.sleep(1000)",
        "input()\nimport time\nwhile True:\n    time.sleep(0.01)",
    ],
)
def test_an_endless_loop_ends(program: str) -> None:
    started = time.monotonic()
    ran = run_program(program, b"\n", LIMITS)
    assert ran.out_of_limits
    assert time.monotonic() - started < 3 * LIMITS.wall_seconds


@pytest.mark.parametrize(
    "path",
    ["/etc/shadow", "/etc/passwd", "/root/.bashrc", "/proc/1/environ", "/proc/self/environ", "/dev/sda", __file__],
)
def test_no_file_of_the_host_is_there(path: str) -> None:
    assert "No such file" in failure_of(f"print('through', open({path!r}, 'rb').read(9))")


def test_no_secret_of_the_environment_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PACORE_API_KEY", "geheim")
    (tmp_path / "secret").write_text("geheim")
    program = (
        "import os\nprint(dict(os.environ))\n"
        "for folder, _, files in os.walk('/'):\n"
        "    if folder.startswith(('/usr', '/lib', '/packages')) or '/lib/python' in folder: continue\n"
        "    for file in files:\n"
        "        if os.path.join(folder, file) == '/program.py': continue\n"
        "        try: print(open(os.path.join(folder, file), errors='replace').read(10**6))\n"
        "        except (OSError, MemoryError): pass\n"
    )
    program = program.replace("read(10**6)", "read(1000)")
    output = run_program(program, limits=LIMITS).output
    assert b"OPENBLAS" in output
    assert b"geheim" not in output


@pytest.mark.parametrize(
    "program",
    [
        "import socket\nsocket.create_connection(('127.0.0.1', 80), 1)\nprint('through')",
        "import socket\nsocket.socket(socket.AF_UNIX)\nprint('through')",
        "import urllib.request\nprint('through', urllib.request.urlopen('http://127.0.0.1'))",
    ],
)
def test_there_is_no_network(program: str) -> None:
    assert "not permitted" in failure_of(program)


@pytest.mark.parametrize("path", ["/x", "/usr/lib/x", "/packages/x", "/program.py", "/dev/x", "/etc/x", "/root/x"])
def test_nothing_is_written_outside(path: str) -> None:
    assert "Error" in failure_of(f"open({path!r}, 'w').write('x')\nprint('through')")


def test_what_is_written_in_tmp_is_bounded_and_gone_with_the_program() -> None:
    program = (
        "import os\nassert os.listdir('/tmp') == []\nfor n in range(99):\n    open(f'/tmp/{n}', 'w').write('x' * 10**7)"
    )
    for _ in range(2):
        assert "No space left" in failure_of(program)


@pytest.mark.parametrize("pid", ["os.getppid()", "1", "-1", "0"])
def test_no_process_but_its_own_is_killed(pid: str) -> None:
    run_program(f"import os, signal\nos.kill({pid}, signal.SIGKILL)", limits=LIMITS)
    assert run_program("print(1)").output == b"1\n"


@pytest.fixture
def _forks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox without the filter: what holds then is the PID namespace alone."""
    monkeypatch.setattr(sandbox, "_filter", lambda: b"\x06\x00\x00\x00\x00\x00\xff\x7f")  # allow everything


@pytest.mark.usefixtures("_forks")
@pytest.mark.parametrize("detach", ["pass", "os.setsid()", "signal.signal(signal.SIGHUP, signal.SIG_IGN)"])
def test_a_child_does_not_outlive_its_program(detach: str) -> None:
    name = f"sleeper-{os.getpid()}"
    program = f"""
import ctypes, os, signal, time
if os.fork() == 0:
    {detach}
    ctypes.CDLL(None).prctl(15, {name.encode()!r}, 0, 0, 0)
    time.sleep(600)
time.sleep(0.5)
print('parent ends')
"""
    assert run_program(program, limits=LIMITS).output == b"parent ends\n"
    deadline = time.monotonic() + 5
    while name in (running := _running("comm")) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert name not in running


def _running(column: str) -> list[str]:
    return subprocess.run(["ps", "-eo", column], capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.usefixtures("_forks")
def test_even_forks_are_bounded_in_number_and_end() -> None:
    program = "import os\nn = 0\ntry:\n    while True:\n        os.fork()\nexcept OSError:\n    print('bounded')"
    assert b"bounded" in run_program(program, limits=LIMITS).output


def test_it_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    script, uid = tmp_path / "script.py", 60_000 + os.getpid() % 1000
    script.write_text(
        "import os, signal, threading\nfrom infra import sandbox\n"
        f"sandbox._UNPRIVILEGED = {uid} - os.getpid() % 1000\nsandbox.run_program('1')\n"
        "threading.Timer(2, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()\n"
        "sandbox.run_program('import time; time.sleep(300)', limits=sandbox.Limits(wall_seconds=300))"
    )
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ended = subprocess.run([sys.executable, script], env=paths, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    time.sleep(1)
    assert str(uid) not in " ".join(_running("uid")).split()


def test_without_bubblewrap_it_refuses_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    sandbox._missing.cache_clear()
    try:
        with pytest.raises(SandboxError, match="bubblewrap is not installed: apt install bubblewrap; or set PACORE_"):
            run_program("print(1)")
        monkeypatch.setenv(UNSAFE, "1")
        assert run_program("print(1)").output == b"1\n"
        assert run_program("while True: pass", limits=LIMITS).out_of_limits
    finally:
        sandbox._missing.cache_clear()
