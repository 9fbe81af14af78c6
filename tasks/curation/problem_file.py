"""What the campaign of the message pool takes: the problems as a benchmark, and messages that came with them."""

import json
from collections.abc import Callable, Iterator

from infra.filesystem import FAULTS, open_filesystem, refusal
from tasks.curation.candidate import Candidate, read_candidates


def write_problems(candidates: str, folder: str) -> None:
    """Write `problems.jsonl`, a benchmark, and `messages.jsonl`, which `pacore pool import` takes.

    The second is without rows where no source has messages. Raises `StoreError`.
    """
    _write(f"{folder}/problems.jsonl", candidates, _problem)
    _write(f"{folder}/messages.jsonl", candidates, _messages)


def _problem(candidate: Candidate) -> Iterator[dict[str, object]]:
    chat = candidate.chat
    yield {
        "id": candidate.id,
        "problem": chat if len(chat) > 1 else chat[0]["content"],
        "answer": candidate.ground_truth,
        "source": candidate.source,
    }


def _messages(candidate: Candidate) -> Iterator[dict[str, object]]:
    for draw, message in enumerate(candidate.responses):
        yield {"problem": candidate.id, "draw": draw, "content": message}


def _write(path: str, candidates: str, rows_of: Callable[[Candidate], Iterator[dict[str, object]]]) -> None:
    filesystem, place = open_filesystem(path)
    try:
        with filesystem.open(place, "w", encoding="utf-8") as file:
            for candidate in read_candidates(candidates):
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows_of(candidate))
    except FAULTS as error:
        raise refusal("write", path, error) from error
