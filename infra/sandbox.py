"""Run a Python program that nobody has read: bubblewrap, seccomp and resource limits around a fresh interpreter.

The program sees the standard library and numpy, an empty /tmp of its own, and nothing else: no other file, no network,
no process of the machine, no environment. It can start threads but no process. It writes to /tmp and to its two output
streams, and no more there than `Limits` say. When it ends or its time is up, its PID namespace is gone, and whatever
ran in it.

Root drops to an unprivileged user within; anyone else gets a user namespace. Not a defence against a flaw in the
kernel: for that, run campaigns that grade code in a virtual machine.
"""

import ctypes
import ctypes.util
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import IO

UNSAFE = "PACORE_RUN_CODE_WITHOUT_SANDBOX"
"""Environment variable: with the value 1, programs run as an ordinary child process where there is no sandbox."""

DENIED = """
    fork vfork unshare setns mount umount2 pivot_root chroot mknod mknodat ptrace process_vm_readv process_vm_writev
    pidfd_open pidfd_getfd socket memfd_create memfd_secret bpf perf_event_open userfaultfd io_uring_setup
    io_uring_enter io_uring_register keyctl add_key request_key kexec_load kexec_file_load
    init_module finit_module delete_module open_by_handle_at name_to_handle_at reboot swapon swapoff acct quotactl
    personality settimeofday clock_settime fsopen fsmount move_mount open_tree mount_setattr shmget
    msgget semget mq_open
"""
"""System calls that fail with EPERM. So does `clone` but for threads; `clone3`, whose flags no filter can see, is said
not to exist."""

_UNPRIVILEGED = 60_000
_LAUNCHER = """
import json, os, resource, sys
limits = json.loads(sys.argv[1])
if limits["user"]:
    os.setgroups([])
    os.setresgid(*[limits["user"]] * 3)
    os.setresuid(*[limits["user"]] * 3)
for name, value in limits["resources"].items():
    kind = getattr(resource, name)
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (value, value) if hard < 0 else (min(value, hard), min(value, hard)))
sys.path[:0] = [path for path in limits["packages"] if path not in sys.path]
with open(limits["program"], encoding="utf-8") as file:
    program = file.read()
sys.argv = ["program.py"]
sys.setrecursionlimit(100_000)
scope = {"__name__": "__main__", "__builtins__": __builtins__}
exec(compile(program, "program.py", "exec"), scope)
"""


class SandboxError(RuntimeError):
    """No program can be run here. The text says why and what to do."""


@dataclass(frozen=True)
class Limits:
    """What a program may use; sizes in bytes."""

    cpu_seconds: int = 6
    wall_seconds: float = 20.0
    memory: int = 2 * 2**30
    output: int = 16 * 2**20
    files: int = 64 * 2**20
    threads: int = 32


@dataclass(frozen=True)
class Ran:
    """What a program did: its output, and how it failed, None where it ended by itself without an error."""

    output: bytes
    failure: str | None
    out_of_limits: bool = False


def run_program(program: str, given: bytes = b"", limits: Limits | None = None) -> Ran:
    """Run a Python program on some standard input.

    Raises:
        SandboxError: there is no sandbox, and `UNSAFE` does not allow to do without.
    """
    limits = limits or Limits()
    if (missing := _missing()) is None:
        return _run(program, given, limits, sandboxed=True)
    if os.environ.get(UNSAFE) == "1":
        return _run(program, given, limits, sandboxed=False)
    raise SandboxError(f"{missing}; or set {UNSAFE}=1 to run code that nobody has read as your own user")


@cache
def _missing() -> str | None:
    """Why there is no sandbox, with the remedy; None where it works."""
    if not shutil.which("bwrap"):
        return "bubblewrap is not installed: apt install bubblewrap"
    try:
        _filter()
        tried = _run("print(6 * 7)", b"", Limits(), sandboxed=True)
    except (OSError, SandboxError) as error:
        return f"the sandbox does not work here: {error}"
    return None if tried.output == b"42\n" else f"the sandbox does not work here: {tried.failure}"


def _run(program: str, given: bytes, limits: Limits, *, sandboxed: bool) -> Ran:
    with ExitStack() as files:
        stdin, stdout, stderr, status, filters, text = (files.enter_context(tempfile.TemporaryFile()) for _ in range(6))
        for file, content in ((stdin, given), (filters, _filter() if sandboxed else b""), (text, program.encode())):
            file.write(content)
            file.seek(0)
        inherited = filters.fileno(), status.fileno(), text.fileno()
        wrapper = _bubblewrap(*inherited, limits) if sandboxed else []
        here = "/" if sandboxed else files.enter_context(tempfile.TemporaryDirectory())
        source = "/program.py" if sandboxed else f"/dev/fd/{text.fileno()}"
        command = [*wrapper, _interpreter(), "-I", "-c", _LAUNCHER, json.dumps(_within(limits, source, sandboxed))]
        process = subprocess.Popen(  # noqa: S603  (this is what the sandbox is for)
            command,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=here,
            env={},
            pass_fds=inherited,
            process_group=0,
        )
        timed_out = False
        try:
            process.wait(limits.wall_seconds)
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output, complaint = _content(stdout, limits.output), _content(stderr, limits.output)
        if sandboxed and not timed_out and b'"exit-code"' not in _content(status, 4096):
            raise SandboxError(_last_line(complaint) or f"bubblewrap ended with status {process.returncode}")
        if timed_out:
            return Ran(output, f"no end after {limits.wall_seconds:g} s", out_of_limits=True)
        return _judge(process.returncode, output, complaint, limits)


def _judge(status: int, output: bytes, complaint: bytes, limits: Limits) -> Ran:
    ended_by = -status if status < 0 else status - 128 if status > 128 else 0
    if len(output) >= limits.output or len(complaint) >= limits.output:
        return Ran(output, f"wrote more than {limits.output // 2**20} MiB", out_of_limits=True)
    if ended_by in (signal.SIGXCPU, signal.SIGKILL):
        return Ran(output, f"used more than {limits.cpu_seconds} s of CPU, or was killed", out_of_limits=True)
    if ended_by:
        return Ran(output, f"killed by signal {ended_by}")
    if b"MemoryError" in complaint[-200:]:
        return Ran(output, f"needed more than {limits.memory / 2**30:g} GiB of memory", out_of_limits=True)
    return Ran(output, (_last_line(complaint) or f"exit status {status}") if status else None)


def _content(file: IO[bytes], limit: int) -> bytes:
    file.seek(0)
    return file.read(limit)


def _last_line(complaint: bytes) -> str:
    lines = complaint.decode(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else ""


def _interpreter() -> str:
    return str(Path(sys.executable).resolve())


def _packages() -> list[Path]:
    spec = find_spec("numpy")
    if spec is None or spec.origin is None:
        return []
    package = Path(spec.origin).resolve().parent
    return [path for path in (package, package.with_name("numpy.libs")) if path.is_dir()]


def _within(limits: Limits, program: str, sandboxed: bool) -> dict[str, object]:
    """What the launcher is told."""
    return {
        "program": program,
        "user": _UNPRIVILEGED + os.getpid() % 1000 if sandboxed and os.geteuid() == 0 else None,
        "packages": ["/packages"] if sandboxed else [str(path.parent) for path in _packages()[:1]],
        "resources": {
            "RLIMIT_CPU": limits.cpu_seconds,
            "RLIMIT_AS": limits.memory,
            "RLIMIT_FSIZE": limits.output,
            "RLIMIT_NOFILE": 64,
            "RLIMIT_CORE": 0,
            **({"RLIMIT_NPROC": limits.threads} if sandboxed else {}),
        },
    }


def _bubblewrap(filters: int, status: int, program: int, limits: Limits) -> list[str]:
    root = os.geteuid() == 0
    library = Path(sysconfig.get_path("stdlib")).resolve().parent
    seen = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", str(library), _interpreter()]
    folders = sorted(
        {str(folder) for path in [*seen, "/packages/x", "/dev/x"] for folder in Path(path).parents} - {"/"}
    )
    return [
        str(shutil.which("bwrap")),
        *["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"],
        *(["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"] if root else ["--unshare-user"]),
        *["--die-with-parent", "--new-session", "--clearenv", "--setenv", "OPENBLAS_NUM_THREADS", "1"],
        *[argument for folder in folders for argument in ("--perms", "0755", "--dir", folder)],
        *[argument for path in seen for argument in ("--ro-bind-try", path, path)],
        *[argument for path in _packages() for argument in ("--ro-bind", str(path), f"/packages/{path.name}")],
        *[
            argument
            for name in ("null", "zero", "urandom")
            for argument in ("--dev-bind", f"/dev/{name}", f"/dev/{name}")
        ],
        *["--perms", "0444", "--ro-bind-data", str(program), "/program.py"],
        *["--perms", "1777", "--size", str(limits.files), "--tmpfs", "/tmp", "--remount-ro", "/", "--chdir", "/tmp"],  # noqa: S108
        *["--seccomp", str(filters), "--json-status-fd", str(status), "--"],
    ]


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("mask", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
    )


@cache
def _filter() -> bytes:
    """The seccomp filter, compiled by libseccomp for this machine. Raises `SandboxError`."""
    allow, fail, masked_equal, clone_thread = 0x7FFF0000, 0x00050000, 7, 0x00010000
    name = ctypes.util.find_library("seccomp") or "libseccomp.so.2"
    try:
        library = ctypes.CDLL(name)
    except OSError as error:
        raise SandboxError(f"no {name}: apt install libseccomp2") from error
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(allow)))

    def refuse(call: str, reason: int, *comparisons: _Comparison) -> None:
        number = library.seccomp_syscall_resolve_name(call.encode())
        arguments = (_Comparison * len(comparisons))(*comparisons)
        if number >= 0:  # a call that this architecture has
            action = ctypes.c_uint32(fail | reason)
            if library.seccomp_rule_add_array(context, action, number, len(comparisons), arguments) < 0:
                raise SandboxError(f"libseccomp refuses a rule for {call}")

    for call in DENIED.split():
        refuse(call, errno.EPERM)
    refuse("clone", errno.EPERM, _Comparison(0, masked_equal, clone_thread, 0))
    refuse("clone3", errno.ENOSYS)
    with tempfile.TemporaryFile() as file:
        library.seccomp_export_bpf(context, file.fileno())
        library.seccomp_release(context)
        file.seek(0)
        return file.read()
