"""The short selection of `make chaos`: `pacore run` and its engine are killed, its store fails; nothing is lost."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks.store.tables import TRAJECTORIES
from tests.chaos.night import Engine, Night
from tests.chaos.scenarios import QUICK, Scenario, Stage
from tests.chaos.servers import AbsentError
from tests.contract.conftest import absent


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("chaos"), seed=0)
    with stage.servers:
        yield stage


@pytest.mark.parametrize("scenario", QUICK, ids=lambda scenario: scenario.run.__name__)
def test_nothing_is_lost_nothing_is_twice_and_every_row_is_as_in_an_undisturbed_campaign(
    stage: Stage, scenario: Scenario
) -> None:
    try:
        outcome = scenario(stage)
    except AbsentError as error:
        absent(*str(error).split(" is not installed; to have it: "))
    assert outcome.times >= scenario.times
    assert (outcome.lost, outcome.duplicated, outcome.differing, outcome.tracebacks) == (0, 0, 0, [])


# --- what counts as lost --------------------------------------------------------------------------


@pytest.fixture
def night(tmp_path: Path, campaign_file: Callable[..., Path]) -> Night:
    """A campaign with two committed trajectories, in a part each."""
    import yaml

    night = Night(tmp_path, Engine(None), yaml.safe_load(campaign_file().read_text()))
    empty = dict.fromkeys(TRAJECTORIES.names)
    for id in ("a", "b"):
        night.trajectories.commit(night.partition, [{**empty, "id": id, "message": f"so {id}"}])
    return night


def parts(night: Night) -> list[Path]:
    return sorted(night.folder.rglob("part-*.parquet"))


def test_a_trajectory_that_was_seen_and_is_gone_is_lost(night: Night) -> None:
    assert night.look() == 2
    assert night.lost(night.found()) == 0
    parts(night)[0].unlink()
    assert night.lost(night.found()) == 1


def test_a_trajectory_that_was_seen_and_is_another_one_now_is_lost(night: Night) -> None:
    night.look()
    first = {**dict.fromkeys(TRAJECTORIES.names), "id": "a", "message": "another"}
    for part in parts(night):
        part.unlink()
    night.trajectories.commit(night.partition, [first, {**first, "id": "b", "message": "so b"}])
    assert night.lost(night.found()) == 1


def test_a_row_more_and_a_row_that_differs_are_counted_and_times_are_not(night: Night) -> None:
    before = night.found()
    row = {**dict.fromkeys(TRAJECTORIES.names), "id": "a", "message": "so a"}
    parts(night)[0].unlink()
    parts(night)[0].unlink()
    night.trajectories.commit(night.partition, [{**row, "seconds": 9.0, "engine": "other"}, {**row, "id": "c"}])
    assert night.found().differing(before) == 2
