"""Is all there that a campaign needs? The engine, the store, Prefect, the clock, the disk: one finding each."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Literal
from uuid import uuid4

import fsspec
import httpx2
from fsspec.implementations.local import LocalFileSystem

from infra.engine import Chat, EngineError
from infra.engines import make_engine
from infra.filesystem import FAULTS, StoreError, create_file, open_filesystem, refusal
from infra.openai_engine import OpenAISettings
from infra.token_bound import at_most_tokens
from tasks.campaign.campaign_file import Campaign

CHAT: Chat = [{"role": "user", "content": "What is 1 + 1?"}]
SECONDS = 30.0
SKEW_SECONDS = 5.0
LITTLE_SPACE = 1 << 30
"""Bytes of a local store's disk: below it a campaign of long generations may fill it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it is, and what was found, with the remedy where it is not well."""

    what: str
    state: Literal["ok", "warn", "fail"]
    said: str


async def examine(campaigns: Sequence[Campaign]) -> AsyncIterator[Finding]:
    """Look at all that campaigns need, one after the other, each once. Nothing is left in the store."""
    engines = {f"{one.engine.model_dump_json()} {one.sampler.model_dump_json()}": one for one in campaigns}
    for campaign in engines.values():
        if isinstance(campaign.engine, OpenAISettings):
            for url in campaign.engine.urls:
                yield await _engine(campaign, f"engine {url}", [url])
                if finding := await _clock(f"clock of {url}", f"{url}/models"):
                    yield finding
        else:
            yield await _engine(campaign, "engine local", [])
    for store in dict.fromkeys(campaign.store for campaign in campaigns):
        for finding in await asyncio.to_thread(_store, store):
            yield finding
    yield await _prefect()


async def _engine(campaign: Campaign, what: str, urls: list[str]) -> Finding:
    """Ask one server, or the engine of this process, for its window, a count and one token."""
    alone = {"urls": tuple(urls), "tries": 1, "patience_seconds": 0.0, "first_token_seconds": SECONDS} if urls else {}
    engine = make_engine(campaign.engine.model_copy(update=alone))
    sampler = campaign.sampler
    try:
        await engine.check(sampler)
        window = await engine.window(sampler)
        counted = await engine.count_tokens(CHAT, sampler)
        began = time.monotonic()
        await engine.complete(CHAT, sampler.model_copy(update={"max_tokens": 1}), 0)
        seconds = time.monotonic() - began
    except EngineError as error:
        return Finding(what, "fail", str(error))
    finally:
        await engine.close()
    said = f"serves {sampler.model}, window {window:,}, a token after {seconds:.1f} s"
    if counted >= at_most_tokens(CHAT, sampler):
        return Finding(
            what, "warn", f"{said}; it has no /tokenize, so prompts are taken for longer than they are: serve with vLLM"
        )
    return Finding(what, "ok", f"{said}, counts tokens")


async def _clock(what: str, url: str) -> Finding | None:
    try:
        async with httpx2.AsyncClient(timeout=SECONDS) as client:
            answer = await client.get(url)
    except httpx2.HTTPError:
        return None
    return clock(what, answer.headers.get("Date"), datetime.now(UTC))


def clock(what: str, stated: str | None, now: datetime) -> Finding | None:
    """Compare this machine's clock with an HTTP Date; None where there is none that can be read."""
    try:
        ahead = (now - parsedate_to_datetime(stated or "")).total_seconds()
    except (ValueError, TypeError):
        return None
    if abs(ahead) <= SKEW_SECONDS:
        return Finding(what, "ok", "agrees with this machine's")
    where = "ahead of" if ahead > 0 else "behind"
    return Finding(
        what,
        "warn",
        f"this machine is {abs(ahead):,.0f} s {where} it; set both by NTP: times in rows are off, "
        "and from 15 minutes S3 refuses",
    )


def _store(store: str) -> list[Finding]:
    """Write a file twice, read it, remove it; look at the clock or the disk below it."""
    what = f"store {store}"
    try:
        filesystem, root = open_filesystem(store)
        path = f"{root.rstrip('/')}/doctor-{uuid4().hex}"
        new = not filesystem.exists(root)
        began = time.monotonic()
        create_file(filesystem, path, b"first")
        seconds = time.monotonic() - began
        try:
            create_file(filesystem, path, b"second")
            conditional = False
        except FileExistsError:
            conditional = True
        filesystem.cat_file(path)
        findings = [_written(what, seconds, conditional), *_around(filesystem, path)]
        findings += _removed(filesystem, path, what)
        if new and isinstance(filesystem, LocalFileSystem):
            Path(root).rmdir()
        return findings
    except StoreError as error:
        return [Finding(what, "fail", str(error))]
    except FAULTS as error:
        return [Finding(what, "fail", str(refusal("write", path, error)))]


def _written(what: str, seconds: float, conditional: bool) -> Finding:
    if conditional:
        return Finding(what, "ok", f"writable, {seconds:.2f} s a file; a file is never written over")
    return Finding(
        what,
        "warn",
        "writable, but it ignores If-None-Match: a part is named after its bytes, so one written twice is the same; "
        "for files that are never written over, use a store that honours it",
    )


def _around(filesystem: fsspec.AbstractFileSystem, path: str) -> list[Finding]:
    if isinstance(filesystem, LocalFileSystem):
        free = shutil.disk_usage(Path(path).parent).free
        little = free < LITTLE_SPACE
        remedy = "; make room before a long campaign" if little else ""
        return [Finding("disk of the store", "warn" if little else "ok", f"{free / 2**30:,.1f} GiB free{remedy}")]
    if not hasattr(filesystem, "call_s3"):
        return []
    bucket, key, _ = filesystem.split_path(path)
    head = filesystem.call_s3("head_object", Bucket=bucket, Key=key)
    stated = head["ResponseMetadata"]["HTTPHeaders"].get("date")
    finding = clock("clock of the store", stated, datetime.now(UTC))
    return [finding] if finding else []


def _removed(filesystem: fsspec.AbstractFileSystem, path: str, what: str) -> list[Finding]:
    try:
        filesystem.rm_file(path)
    except FAULTS as error:
        return [
            Finding(what, "warn", f"{refusal('remove', path, error)}; without this right small parts are not merged")
        ]
    return []


async def _prefect() -> Finding:
    import prefect  # takes seconds
    from prefect.settings import PREFECT_API_URL

    what = "prefect"
    if not (url := PREFECT_API_URL.value()):
        return Finding(
            what, "ok", f"{prefect.__version__}; PREFECT_API_URL is not set: every run starts its own server"
        )
    try:
        async with httpx2.AsyncClient(timeout=SECONDS) as client:
            answer = (await client.get(f"{url}/admin/version")).raise_for_status()
    except httpx2.HTTPError as error:
        why = " ".join(str(error).split()) or type(error).__name__
        return Finding(what, "fail", f"{url} does not answer ({why}); start it, or unset PREFECT_API_URL")
    theirs = str(answer.json())
    if theirs.split(".")[:2] != prefect.__version__.split(".")[:2]:
        return Finding(what, "warn", f"{url} runs {theirs}, this is {prefect.__version__}; install the same version")
    return Finding(what, "ok", f"{url} runs {theirs}")
