"""Curated problems as training rows: the released form, and Parquet for verl (Section 3.1).

The released form has `conversation` (the chat), `responses` (the messages) and `ground_truth`.

For verl a row is one episode's prompt P(x, M): `prompt`, `data_source`, `reward_model.ground_truth`, `extra_info`. The
reward function for it is `tasks/curation/verl_reward.py`.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from tasks.campaign.campaign_file import CampaignError
from tasks.campaign.plan import Plan
from tasks.campaign.prompt import in_prompt_order
from tasks.curation.candidate import TURNS, read_candidates, write_rows
from tasks.curation.curation_file import Verl
from tasks.problem import Problem
from tasks.report.books import Books
from tasks.report.columns import columns_of

RELEASED = pa.schema(
    [("conversation", TURNS), ("responses", pa.list_(pa.large_string())), ("ground_truth", pa.large_string())]
)
VERL = pa.schema(
    [
        ("data_source", pa.string()),
        ("prompt", TURNS),
        ("ability", pa.string()),
        ("reward_model", pa.struct([("style", pa.string()), ("ground_truth", pa.large_string())])),
        (
            "extra_info",
            pa.struct(
                [
                    ("index", pa.int64()),
                    ("id", pa.string()),
                    ("grader", pa.string()),
                    ("references", pa.list_(pa.string())),
                ]
            ),
        ),
    ]
)
"""`extra_info.references`: ids of the trajectories whose messages stand in the prompt, in its order."""


@dataclass(frozen=True)
class Curated:
    """A problem that is left, as its campaign asks it, with the messages of its pool that hold anything, by id."""

    source: str
    problem: Problem
    messages: dict[str, str]


def read_curated(path: str, books: Books) -> list[Curated]:
    """The problems of a file of candidates with the pool's messages. Raises `StoreError`."""
    problems = {problem.id: problem for problem in books.plan.problems}
    kept = [(candidate.source, problems[candidate.id]) for candidate in read_candidates(path)]
    pools = {problem.id: books.pool(problem) for _, problem in kept}
    rows = columns_of(books, ["message"], [id for pool in pools.values() for id in pool])

    def messages(problem: Problem) -> dict[str, str]:
        found = {id: rows[id]["message"] or "" for id in pools[problem.id]}
        return {id: message for id, message in found.items() if message.strip()}

    return [Curated(source, problem, messages(problem)) for source, problem in kept]


def write_released(path: str, curated: Sequence[Curated]) -> None:
    """Write the released form. Raises `StoreError`."""
    write_rows(
        path,
        RELEASED,
        (
            {
                "conversation": one.problem.chat,
                "responses": list(one.messages.values()),
                "ground_truth": one.problem.ground_truth,
            }
            for one in curated
        ),
    )


def write_verl(path: str, curated: Sequence[Curated], plan: Plan, settings: Verl, epoch: int) -> None:
    """Write one epoch for verl; order and message sets follow from seed, epoch and problem.

    Raises:
        CampaignError: verl can not run the campaign's grader.
        StoreError: the file can not be written.
    """
    if not isinstance(plan.campaign.grader, str):
        raise CampaignError(
            f"{plan.campaign.name}: the grader is a judge, which a reward file can not ask; name a grader that computes"
        )
    write_rows(path, VERL, _episodes(curated, plan, settings, epoch))


def _episodes(curated: Sequence[Curated], plan: Plan, settings: Verl, epoch: int) -> Iterator[dict[str, object]]:
    chooser = random.Random(f"{settings.seed}/{epoch}")
    for index, one in chooser.sample(list(enumerate(curated)), len(curated)):
        drawn = in_prompt_order(*draw_messages(one, settings, epoch))
        yield {
            "data_source": one.source,
            "prompt": plan.template.write(one.problem.chat, [message for _, message in drawn]),
            "ability": "reasoning",
            "reward_model": {"style": "rule", "ground_truth": one.problem.ground_truth},
            "extra_info": {
                "index": index,
                "id": one.problem.id,
                "grader": plan.campaign.grader_name,
                "references": [id for id, _ in drawn],
            },
        }


def draw_messages(one: Curated, settings: Verl, epoch: int) -> tuple[list[str], list[str]]:
    """Ids and messages of a random M, |M| ~ U(a, b); all that there are where they are fewer."""
    chooser = random.Random(f"{settings.seed}/{epoch}/{one.problem.fingerprint}")
    size = min(chooser.randint(*settings.messages), len(one.messages))
    ids = chooser.sample(list(one.messages), size)
    return ids, [one.messages[id] for id in ids]
