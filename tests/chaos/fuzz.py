"""Feed what no one should have written: `python -m tests.chaos.fuzz --inputs 10000`.

Campaign files, benchmark files, server replies and parts of the store are made from good ones by seeded mutations.
Each is taken, or ends in one of the typed errors, of one line; within seconds; and what stands beside it is not lost.
"""

import asyncio
import io
import json
import logging
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import stamina
import yaml
from cyclopts import App

from infra.engine import EngineError
from infra.filesystem import StoreError
from infra.openai_engine import OpenAIEngine, OpenAISettings
from infra.sampler import Sampler
from tasks.campaign.benchmark import load_benchmark
from tasks.campaign.campaign_file import BenchmarkSource, CampaignError, load_campaign
from tasks.campaign.plan import calls, make_plan, token_bound
from tasks.reasoning.draw import Draw
from tasks.reasoning.generate import trajectory_row
from tasks.store.tables import TRAJECTORIES, trajectories_table

SECONDS = 10
"""Longest time for one input."""
LINE = 2_000
"""Characters of the longest line that an error may be."""
MEMORY = 8 << 30


class HangError(BaseException):
    """An input took too long."""


@dataclass
class Findings:
    """How inputs ended, and those that ended as none may: what happened, and the first input of the kind."""

    kind: str
    ends: Counter[str] = field(default_factory=Counter)
    wrong: dict[str, tuple[int, str, Any]] = field(default_factory=dict)

    def check(self, number: int, given: Any, call: Callable[[], str]) -> None:
        """Let one input end; `call` returns how."""
        try:
            with time_limit():
                self.ends[call()] += 1
        except (CampaignError, EngineError, StoreError) as error:
            self.refused(number, given, error)
        except (Exception, HangError) as error:
            self.escaped(number, given, error)

    def refused(self, number: int, given: Any, error: Exception) -> None:
        """A typed error: one line, and not an endless one."""
        self.ends[type(error).__name__] += 1
        text = str(error)
        if "\n" in text or len(text) > LINE:
            self.add(
                number, given, f"{type(error).__name__} of {text.count(chr(10)) + 1} lines, {len(text)} characters"
            )

    def escaped(self, number: int, given: Any, error: BaseException) -> None:
        """Anything else is a traceback before a user's eyes."""
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/tests/" not in frame.filename]
        ours = [frame for frame in frames if "/lib/" not in frame.filename]
        where = f" in {Path(ours[-1].filename).name}:{ours[-1].name}" if ours else ""
        self.ends["ESCAPED"] += 1
        name = type(error).__name__ + where
        self.add(number, given, f"{name}: {' '.join(str(error).split())[:200]}", name)

    def add(self, number: int, given: Any, what: str, sort: str = "") -> None:
        """Keep the first input of each sort of finding."""
        self.wrong.setdefault(sort or what.split(" of ")[0], (number, what, given))

    def show(self) -> None:
        """One line; and one for each finding."""
        ends = ", ".join(f"{count:,} {end}" for end, count in self.ends.most_common())
        print(f"fuzz: {sum(self.ends.values()):,} {self.kind}: {ends}", flush=True)
        for number, what, given in self.wrong.values():
            print(f"  input {number}: {what}\n    {repr(given)[:600]}", flush=True)


def batched(numbers: range, size: int) -> Iterator[range]:
    """Slices of so many."""
    return (numbers[at : at + size] for at in range(0, len(numbers), size))


@contextmanager
def time_limit(seconds: float = SECONDS) -> Iterator[None]:
    """Raise `HangError` inside the block when its time is up."""

    def ring(*_: object) -> None:
        raise HangError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# --- mutations ------------------------------------------------------------------------------------

WORDS = [
    *("", " ", "\x00", "\ud800", "e\u0301", "\u202e", "𝔘", "x" * 5_000, "\n\n", "../../etc", "a/b", "s3://", "file://"),
    *("null", "~", "0x1F", "1e999", "-0", ".inf", "on", "no", "2026-01-01", "{{ 1/0 }}", "os:system", "\\boxed{"),
    *("sc@0", "sc@4", "rsa@1,2,3", "full@2", "sequential@99999999999", "pass@-1", "math"),
]


def odd_value(dice: random.Random) -> Any:
    """A value of some type, most of them not the one that is wanted."""
    deep: Any = "deep"
    for _ in range(dice.choice([3, 30, 300])):
        deep = [deep] if dice.random() < 0.5 else {"a": deep}
    return dice.choice(
        [
            dice.choice([None, True, False, [], {}, 0, -1, 1, 2**31, 2**63, 2**64, 10**30, 10**400, -(10**18), 1.5]),
            dice.choice([float("nan"), float("inf"), -0.0, 1e308, 5e-324, b"\xff\x00"]),
            dice.choice(WORDS),
            "".join(chr(dice.randrange(1, 0x11000)) for _ in range(dice.randrange(20))),
            deep,
            [dice.choice(WORDS) for _ in range(dice.randrange(5))],
            {dice.choice(WORDS): dice.choice(WORDS) for _ in range(3)},
            list(range(dice.randrange(300))),
        ]
    )


def mutated(value: Any, dice: random.Random) -> Any:
    """A JSON-like value with some of its nodes replaced, removed, doubled, renamed or wrapped."""
    value = deepcopy(value)
    for _ in range(dice.choice([1, 1, 1, 2, 3])):
        holder, key = dice.choice(list(places(value)))
        if holder is None:
            return odd_value(dice)
        match dice.randrange(7):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[dice.choice(["", key + "s", key.upper(), dice.choice(WORDS)])] = holder.pop(key)
            case 2:
                holder[key] = [holder[key]]
            case 3:
                holder[key] = str(holder[key])
            case 4 if isinstance(holder, list):
                holder.insert(key, holder[key])
            case _:
                holder[key] = odd_value(dice)
    return value


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a tree where a node stands: its holder and its key there. The tree itself has none."""
    yield None, None
    todo = [value]
    while todo:
        node = todo.pop()
        for key in node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            yield node, key
            todo.append(node[key])


def garbled(data: bytes, dice: random.Random, *tokens: bytes) -> bytes:
    """Bytes with some of them changed, cut off, doubled or inserted."""
    out = bytearray(data)
    for _ in range(dice.choice([1, 1, 2, 5, 20])):
        at = dice.randrange(len(out) + 1)
        match dice.randrange(7):
            case 0:
                out[at : at + 1] = bytes([dice.randrange(256)])
            case 1:
                del out[at:]
            case 2:
                del out[at : at + dice.randrange(40)]
            case 3:
                out[at:at] = out[at : at + dice.randrange(200)]
            case 4:
                out[at:at] = dice.randbytes(dice.randrange(8))
            case _ if tokens:
                out[at:at] = dice.choice(tokens)
            case _:
                out[at:at] = b"\x00"
    return bytes(out)


# --- campaign files -------------------------------------------------------------------------------

PROBLEMS = [{"id": str(n), "problem": f"What is {n} + {n}?", "answer": str(2 * n)} for n in range(4)]
CAMPAIGNS: list[dict[str, Any]] = [
    {
        "name": "fuzz",
        "benchmark": "problems.jsonl",
        "grader": "exact",
        "sampler": {"model": "sim", "temperature": 1.0, "top_p": 1.0, "max_tokens": 100, "stop": ["a"]},
        "engine": {"urls": ["http://127.0.0.1:9/v1"], "in_flight": 4, "tries": 2},
        "pool": 16,
        "methods": ["low", [8, 2], {"name": "mine", "rounds": [8, {"width": 4, "sees": 2}]}, "sc@4", "rsa@4,2,3"],
        "runs": 2,
        "quorum": 0.5,
        "overflow": {"policy": "fail", "room": 10},
        "commit_seconds": 5,
        "store": "store",
    },
    {
        "name": "built-in",
        "benchmark": {"path": "countdown", "limit": 3, "split": "test", "instruction": "Go.", "fields": {"id": "id"}},
        "grader": "countdown",
        "sampler": {"model": "pacore-tiny", "chat_template": {"enable_thinking": False}},
        "engine": {"kind": "local"},
        "pool": 4,
        "methods": ["low"],
        "store": "s3://bucket/pacore",
    },
]
YAML_TOKENS = [
    *(b"*a", b"&a ", b"&a [*a]", b"<<: *a\n", b"!!python/object/apply:os.system ['true']", b"!!binary |\n  /w=="),
    *(
        b"!!timestamp 9999-99-99",
        b"!!set {a}",
        b"%YAML 9.9\n",
        b"---\n",
        b"...\n",
        b"? ",
        b": ",
        b"- ",
        b"|\n",
        b">-\n",
    ),
    *(b"[" * 50, b"{a: " * 50, b"'", b'"', b"#", b"\t", b"\r", b"\xef\xbb\xbf", b"\xff\xfe", b"\xc2\x85"),
    *(b"1_0", b"0o777", b"12:30:45"),
]


def bomb(dice: random.Random) -> bytes:
    """Aliases that would unfold to billions of nodes, brackets a thousand deep, digits by the thousand."""
    names = [f"a{n}" for n in range(dice.choice([9, 30]))]
    doubling = "\n".join(
        f"{name}: &{name} [{', '.join(['*' + names[n - 1]] * 9) if n else 'lol'}]" for n, name in enumerate(names)
    )
    place = dice.choice(["methods", "name", "engine", "benchmark", "sampler", "pool", "runs"])
    depth = dice.choice([100, 1_000, 3_000])
    text: str = dice.choice(
        [
            f"{doubling}\n{place}: *{names[-1]}\n",
            f"methods: &a [*a]\n{place}: *a\n",
            f"{place}: {'[' * depth}{']' * depth}\n",
            f"{place}: {'{a: ' * min(depth, 2_000)}1{'}' * min(depth, 2_000)}\n",
            f"{place}: {'9' * dice.choice([4_000, 5_000, 100_000])}\n",
            f"{place}: &x {{<<: [*x, *x]}}\n",
            f"{place}: {'- ' * depth}x\n",
            "\n".join(f"key{n}: {n}" for n in range(depth)),
        ]
    )
    rest: str = dice.choice(["", yaml.safe_dump(CAMPAIGNS[0])])
    return (text + rest).encode()


def campaign_file(dice: random.Random) -> bytes:
    """A campaign file as no one should write it."""
    campaign = dice.choice(CAMPAIGNS)
    match dice.randrange(50):
        case 0:
            return bomb(dice)
        case n if n < 30:
            while True:
                try:
                    text: str = yaml.safe_dump(mutated(campaign, dice), allow_unicode=dice.random() < 0.5)
                    return text.encode("utf-8", "surrogatepass")
                except RecursionError:
                    continue
    text = yaml.safe_dump(campaign, default_flow_style=dice.choice([True, False]))
    return garbled(text.encode(), dice, *YAML_TOKENS)


def fuzz_campaign_files(inputs: int, seed: int, folder: Path) -> Findings:
    """What `pacore validate` does with a file."""
    findings = Findings("campaign files")
    (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PROBLEMS))
    file = folder / "campaign.yaml"

    def validate() -> str:
        plan = make_plan(load_campaign(file))
        calls(plan)
        token_bound(plan)
        return "valid"

    for number in range(inputs):
        given = campaign_file(random.Random(f"{seed}/campaign/{number}"))
        file.write_bytes(given)
        findings.check(number, given, validate)
    return findings


# --- benchmark files ------------------------------------------------------------------------------

CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 2 + 2?"}]
ROWS: list[dict[str, Any]] = [*PROBLEMS, {"id": "chat", "problem": CHAT, "answer": "4"}]


JSON_TOKENS = [b"\n", b"\r", b'"', b"{", b"}", b"[" * 2_000, b"\\ud800", b"NaN", b"1e999", b"9" * 5_000]


def json_lines(rows: list[Any], dice: random.Random) -> bytes:
    """Rows as JSONL; non-ASCII as it is or escaped."""
    lines = (json.dumps(row, ensure_ascii=dice.random() < 0.5, default=repr) for row in rows)
    return "\n".join(lines).encode("utf-8", "replace")


def parquet(rows: list[Any]) -> bytes:
    """Rows as Parquet, or as JSON text where they make no table."""
    try:
        table = pa.Table.from_pylist([row for row in rows if isinstance(row, dict)])
    except (pa.ArrowException, TypeError, ValueError, OverflowError, AttributeError):
        table = pa.table({"id": ["1"], "problem": [repr(rows)[:500].encode("utf-8", "replace")], "answer": [1.5]})
    out = io.BytesIO()
    try:
        pq.write_table(table, out)
    except pa.ArrowException:  # no columns, or structs without fields
        return b"PAR1"
    return out.getvalue()


def fuzz_benchmark_files(inputs: int, seed: int, folder: Path) -> Findings:
    """What becomes of the rows of a benchmark: all of them are problems, or none is."""
    findings = Findings("benchmark files")
    for number in range(inputs):
        dice = random.Random(f"{seed}/benchmark/{number}")
        as_parquet, in_bytes = dice.random() < 0.4, dice.random() < 0.5
        rows = ROWS[:-1] if as_parquet else ROWS
        rows = rows if in_bytes else mutated(rows, dice)
        rows = rows if isinstance(rows, list) else [rows]
        given = parquet(rows) if as_parquet else json_lines(rows, dice)
        if in_bytes:
            given = garbled(given, dice, *JSON_TOKENS)
        file = folder / f"rows.{'parquet' if as_parquet else 'jsonl'}"
        file.write_bytes(given)

        def load(file: Path = file, given: bytes = given) -> str:
            problems = load_benchmark(BenchmarkSource(path=str(file)))
            for problem in problems:
                json.dumps([problem.id, problem.chat, problem.ground_truth], ensure_ascii=False).encode()
            lines = [line for line in given.split(b"\n") if line.strip()]
            if file.suffix == ".jsonl" and len(problems) != len(lines):
                raise AssertionError(f"{len(lines)} rows, {len(problems)} problems")
            return "taken"

        findings.check(number, given, load)
    return findings


# --- server replies -------------------------------------------------------------------------------

HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": "sim"}
USAGE = {
    "prompt_tokens": 7,
    "completion_tokens": 3,
    "total_tokens": 10,
    "prompt_tokens_details": {"cached_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
EVENTS: list[dict[str, Any]] = [
    {**HEAD, "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]},
    {**HEAD, "choices": [{"index": 0, "delta": {"reasoning": "two and two"}, "finish_reason": None}]},
    {**HEAD, "choices": [{"index": 0, "delta": {"content": "4"}, "finish_reason": None}]},
    {**HEAD, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    {**HEAD, "choices": [], "usage": USAGE},
]
MODELS = {"object": "list", "data": [{"id": "sim", "object": "model", "max_model_len": 4096}]}
ERROR = {"error": {"message": "no", "type": "BadRequestError", "param": None, "code": 400}}
COUNT = {"count": 7, "max_model_len": 4096}
HTTP_TOKENS = [
    *(
        b"\n",
        b"\r\n",
        b"data:",
        b"data: {}\n\n",
        b"data: null\n\n",
        b"data: [DONE]\n\n",
        b"[" * 3_000,
        b"\\ud800",
        b"0" * 400,
    ),
    *(b"HTTP/1.1 200 OK\r\n", b"Transfer-Encoding: chunked\r\n", b"Content-Encoding: gzip\r\n"),
]


def reply(status: int, body: bytes, kind: bytes = b"application/json") -> bytes:
    """An HTTP response, closed at its end."""
    head = b"HTTP/1.1 %d X\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    return head % (status, kind, len(body)) + body


def stream(events: Any) -> bytes:
    """A streamed answer."""
    lines = b"".join(b"data: " + json.dumps(event, default=repr).encode() + b"\n\n" for event in events)
    return reply(200, lines + b"data: [DONE]\n\n", b"text/event-stream")


def server_reply(path: str, dice: random.Random) -> bytes:
    """What a server answers, not as it should."""
    statuses = [100, 200, 200, 200, 204, 301, 400, 401, 404, 408, 413, 418, 429, 500, 503, 599, 999]
    good = {"/v1/models": MODELS, "/tokenize": COUNT}.get(path)
    if dice.random() < 0.15:
        return reply(dice.choice(statuses), json.dumps(mutated(ERROR, dice), default=repr).encode())
    if dice.random() < 0.5:
        events = mutated(EVENTS, dice)
        whole = stream(events if isinstance(events, list) else [events])
        return reply(200, json.dumps(mutated(good, dice), default=repr).encode()) if good else whole
    whole = reply(dice.choice(statuses), json.dumps(good).encode()) if good else stream(EVENTS)
    return garbled(whole, dice, *HTTP_TOKENS)


def fuzz_server_replies(inputs: int, seed: int, folder: Path) -> Findings:
    """What the engine makes of a reply: a completion that a row can hold, or one of its errors."""
    findings = Findings("server replies")
    asyncio.run(_fuzz_server_replies(inputs, seed, findings))
    return findings


ASKERS, INPUTS_AN_ENGINE = 8, 20
PATIENCE = {"first_token_seconds": 2.0, "between_tokens_seconds": 2.0, "connect_seconds": 2.0, "patience_seconds": 0}


async def _fuzz_server_replies(inputs: int, seed: int, findings: Findings) -> None:
    replies: dict[int, bytes] = {}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(replies[int(head.split(b" ")[1].split(b"/")[1])])
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def ask(asker: int, port: int) -> None:
        for numbers_of_engine in batched(range(asker, inputs, ASKERS), INPUTS_AN_ENGINE):
            url = f"http://127.0.0.1:{port}/{asker}/v1"
            engine = OpenAIEngine(OpenAISettings(urls=(url,), tries=1, **PATIENCE))
            for number in numbers_of_engine:
                dice = random.Random(f"{seed}/reply/{number}")
                path = dice.choice(["/v1/models", "/tokenize", *["/v1/chat/completions"] * 4])
                replies[asker] = server_reply(path, dice)
                await take(engine, number, path, replies[asker])
            await engine.close()

    async def take(engine: OpenAIEngine, number: int, path: str, given: bytes) -> None:
        try:
            async with asyncio.timeout(SECONDS):
                findings.ends[await _ask(engine, path)] += 1
        except EngineError as error:
            findings.refused(number, given, error)
        except TimeoutError:
            findings.escaped(number, given, HangError(f"more than {SECONDS} s"))
        except Exception as error:
            findings.escaped(number, given, error)

    with stamina.set_testing(True, attempts=1):
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            await asyncio.gather(*(ask(asker, port) for asker in range(ASKERS)))


async def _ask(engine: OpenAIEngine, path: str) -> str:
    sampler, chat = Sampler(model="sim"), [{"role": "user", "content": "What is 2 + 2?"}]
    match path:
        case "/v1/models":
            await engine.check(sampler)
            assert 0 < await engine.window(sampler) < 2**63
            return "window"
        case "/tokenize":
            assert 0 <= await engine.count_tokens(chat, sampler) < 2**63
            return "count"
    row = trajectory_row("sim", Draw("0" * 32, "p", "p", 1, 0, chat), await engine.complete(chat, sampler, 1), None)
    pa.Table.from_pylist([row], schema=TRAJECTORIES).validate(full=True)  # one that fits no column loses its neighbours
    assert row["prompt_tokens"] >= 0 <= row["completion_tokens"], "counts that are negative"
    return "completion"


# --- parts ----------------------------------------------------------------------------------------


def rows_of(part: int) -> list[dict[str, Any]]:
    """Eight finished trajectories."""
    empty = dict.fromkeys(TRAJECTORIES.names)
    return [
        {**empty, "id": f"{part}-{n}", "problem": "p", "message": f"so {part * n}", "reasoning": "hm " * n}
        for n in range(8)
    ]


def fuzz_parts(inputs: int, seed: int, folder: Path) -> Findings:
    """What a reader finds beside a part that is torn, foreign or changed: all good rows, and no other."""
    findings = Findings("parts")
    table = trajectories_table(str(folder / "store"))
    good = [row for part in range(3) for row in rows_of(part)]
    for part in range(3):
        table.commit("sampler=s", rows_of(part))
    victim = table.commit("sampler=s", rows_of(3))
    bad, original = Path(victim.path), Path(victim.path).read_bytes()
    written = {row["id"]: row["message"] for row in [*good, *rows_of(3)]}
    for number in range(inputs):
        dice = random.Random(f"{seed}/part/{number}")
        given = foreign(dice) if dice.random() < 0.1 else garbled(original, dice, b"PAR1", b"\xff" * 64, original)
        bad.write_bytes(given)

        def read() -> str:
            table.reported.clear()
            rows = table.read("sampler=s", ["id", "message"]).to_pylist()
            found = {row["id"]: row["message"] for row in rows}
            lost = [row["id"] for row in good if found.get(row["id"]) != row["message"]]
            assert not lost, f"good rows lost: {lost}"
            changed = {id: message for id, message in found.items() if written.get(id) != message}
            assert not changed, f"rows that no one wrote: {changed}"
            return "whole" if len(rows) == len(written) else "passed over"

        findings.check(number, given, read)
    return findings


def foreign(dice: random.Random) -> bytes:
    """A Parquet file of someone else's, or none."""
    columns = {"id": ["0-0", "x"], "message": ["foreign", "x"], dice.choice(["a", "error", "started"]): [1, 2]}
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return dice.choice([out.getvalue(), b"", b"PAR1PAR1", b"PAR1" + bytes(8) + b"PAR1", dice.randbytes(500)])


# --- all of it ------------------------------------------------------------------------------------

KINDS = {
    "campaign": fuzz_campaign_files,
    "benchmark": fuzz_benchmark_files,
    "replies": fuzz_server_replies,
    "parts": fuzz_parts,
}


def main(*, inputs: int = 10_000, seed: int = 0, kind: str = "") -> int:
    """Feed so many inputs of each kind; exit status 1 where one ended as none may."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    logging.disable()
    bad = False
    for name, feed in KINDS.items():
        if kind not in name:
            continue
        folder = Path(tempfile.mkdtemp(prefix="pacore-fuzz-"))
        began = time.monotonic()
        findings = feed(inputs, seed, folder)
        findings.show()
        print(f"  {time.monotonic() - began:.0f} s", file=sys.stderr)
        bad |= bool(findings.wrong)
        shutil.rmtree(folder)
    sys.stdout.flush()
    os._exit(int(bad))  # a worker thread that hangs must not keep it


if __name__ == "__main__":
    App(default_command=main)()
