"""A campaign on the model that ships with the project: no server, no network."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.flows.conftest import Pacore

pytestmark = pytest.mark.usefixtures("prefect_server")


def test_a_campaign_on_the_shipped_model_needs_no_server_and_repeats_to_the_letter(
    tmp_path: Path, campaign_file: Callable[..., Path], pacore: Pacore
) -> None:
    tables = []
    for store in ("first", "second"):
        file = campaign_file(
            benchmark={"path": "countdown", "limit": 3},
            grader="countdown",
            sampler={"model": "pacore-tiny", "max_tokens": 512},
            engine={"kind": "local"},
            pool=8,
            methods=["low", "sc@8"],
            store=str(tmp_path / store),
        )
        assert pacore("run", file).code == 0
        tables.append(json.loads(pacore("report", file, "--json").out))
    assert tables[0] == tables[1]
    assert {line["method"]: (line["failed"], line["ungraded"]) for line in tables[0]} == dict.fromkeys(
        ["pass@1", "low", "sc@8", "pass@8"], (0, 0)
    )
    assert all(line["ttc_tokens"] > 0 for line in tables[0])


@pytest.mark.parametrize(
    "name", ["quickstart-countdown", "quickstart-arithmetic", "gates-countdown", "gates-arithmetic", "smoke"]
)
def test_the_campaign_files_that_ship_are_valid(name: str, pacore: Pacore) -> None:
    file = Path(__file__).parents[2] / "flows/campaigns" / f"{name}.yaml"
    assert pacore("validate", file).code == 0
