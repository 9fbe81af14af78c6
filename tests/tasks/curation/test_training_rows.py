"""Training rows: the released form, and what verl's dataset class and reward loader expect."""

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tasks.campaign.campaign_file import CampaignError
from tasks.curation.candidate import Candidate, write_candidates
from tasks.curation.curation_file import Source, Verl
from tasks.curation.sources import collect
from tasks.curation.training_rows import Curated, draw_messages, read_curated, write_released, write_verl
from tests.tasks.ledger import PRODUCT, SUM, Ledger

MakeLedger = Callable[..., Ledger]
SETTINGS = Verl(messages=(2, 3))


@pytest.fixture
def made(ledger: MakeLedger, tmp_path: Path) -> tuple[Ledger, list[Curated], dict[int, list[str]]]:
    """Two problems, one with an empty message, and what was curated of them."""
    book = ledger()
    ids = {
        SUM: book.pool(SUM, [("correct", text, 1) for text in ("two", "2 it is", " ", "it is 2")]),
        PRODUCT: book.pool(PRODUCT, [("wrong", str(n), 1) for n in range(4)]),
    }
    file = str(tmp_path / "curated.parquet")
    write_candidates(file, [Candidate(id, "open", [], "", []) for id in ("product", "sum")])
    return book, read_curated(file, book.books()), ids


def test_messages_are_those_of_the_pool_that_hold_anything(made: tuple[Ledger, list[Curated], dict]) -> None:
    _, curated, ids = made
    assert [one.problem.id for one in curated] == ["product", "sum"]
    assert curated[1].messages == {ids[SUM][0]: "two", ids[SUM][1]: "2 it is", ids[SUM][3]: "it is 2"}


def test_the_released_form_can_be_read_again_as_a_source(
    made: tuple[Ledger, list[Curated], dict], tmp_path: Path
) -> None:
    _, curated, _ = made
    path = str(tmp_path / "released.parquet")
    write_released(path, curated)
    assert pq.read_schema(path).names == ["conversation", "responses", "ground_truth"]
    again = list(collect([Source(name="again", path=path)]))
    assert [(one.chat, one.ground_truth, one.responses) for one in again] == [
        (one.problem.chat, one.problem.ground_truth, list(one.messages.values())) for one in curated
    ]


def test_a_row_for_verl_is_the_synthesis_prompt_over_the_messages_that_it_names(
    made: tuple[Ledger, list[Curated], dict], tmp_path: Path
) -> None:
    book, curated, _ = made
    path = str(tmp_path / "train.parquet")
    write_verl(path, curated, book.plan, SETTINGS, 0)
    rows = pq.read_table(path).to_pylist()
    assert [set(row) for row in rows] == [{"data_source", "prompt", "ability", "reward_model", "extra_info"}] * 2
    for index, one in enumerate(curated):
        (row,) = (row for row in rows if row["extra_info"]["index"] == index)
        shown = [one.messages[id] for id in row["extra_info"]["references"]]
        assert row["prompt"] == book.plan.template.write(one.problem.chat, shown)
        assert 2 <= len(set(row["extra_info"]["references"])) <= 3
        assert (row["data_source"], row["reward_model"]["ground_truth"]) == ("open", one.problem.ground_truth)
        assert (row["extra_info"]["id"], row["extra_info"]["grader"]) == (one.problem.id, "exact")


def test_message_sets_repeat_with_their_seed_and_are_fresh_in_each_epoch(
    made: tuple[Ledger, list[Curated], dict], tmp_path: Path
) -> None:
    book, curated, _ = made
    for name, seed, epoch in [("a", 0, 0), ("again", 0, 0), ("epoch", 0, 1), ("seed", 3, 0)]:
        write_verl(str(tmp_path / name), curated, book.plan, SETTINGS.model_copy(update={"seed": seed}), epoch)
    rows = {name: pq.read_table(tmp_path / name).to_pylist() for name in ("a", "again", "epoch", "seed")}
    assert rows["a"] == rows["again"]
    assert rows["a"] not in (rows["epoch"], rows["seed"])


def test_the_order_is_another_in_each_epoch(made: tuple[Ledger, list[Curated], dict], tmp_path: Path) -> None:
    book, curated, _ = made
    orders = set()
    for epoch in range(8):
        write_verl(str(tmp_path / "train"), curated, book.plan, SETTINGS, epoch)
        orders.add(tuple(row["extra_info"]["index"] for row in pq.read_table(tmp_path / "train").to_pylist()))
    assert orders == {(0, 1), (1, 0)}


def test_sizes_are_uniform_over_the_range(made: tuple[Ledger, list[Curated], dict]) -> None:
    _, (product, _), _ = made
    sizes = [len(draw_messages(product, Verl(messages=(1, 4)), epoch)[0]) for epoch in range(2000)]
    assert {size: sizes.count(size) for size in sizes} == {size: pytest.approx(500, abs=80) for size in (1, 2, 3, 4)}


def test_where_messages_are_fewer_than_asked_for_all_are_shown(made: tuple[Ledger, list[Curated], dict]) -> None:
    _, (_, one), _ = made
    assert sorted(draw_messages(one, Verl(), 0)[0]) == sorted(one.messages)


def test_a_judge_can_not_be_the_reward(made: tuple[Ledger, list[Curated], dict], ledger: MakeLedger) -> None:
    judge = {"kind": "judge", "engine": {"urls": ["http://127.0.0.1:9/v1"]}, "sampler": {"model": "sim"}}
    book = ledger(grader=judge)
    with pytest.raises(CampaignError, match="the grader is a judge, which a reward file can not ask"):
        write_verl("unused", made[1], book.plan, SETTINGS, 0)
