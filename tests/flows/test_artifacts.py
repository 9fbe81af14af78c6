"""What the Prefect UI shows of a campaign that has ended."""

from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.flows.conftest import Pacore, Simulate

pytestmark = pytest.mark.usefixtures("prefect_server")


def test_the_table_and_the_figure_are_artifacts(
    campaign_file: Callable[..., Path], pacore: Pacore, simulate: Simulate
) -> None:
    from prefect.artifacts import Artifact

    with simulate() as server:
        file = campaign_file(engine={"urls": [server.url]}, methods=["low", "sc@4"])
        assert pacore("run", file).code == 0
    table, figure = Artifact.get("report"), Artifact.get("figure")
    assert table
    assert "| low | 2 | 1 |" in str(table.data)
    assert "tiny: sim, 2 problems" in str(table.data)
    assert figure
    kind, _, picture = str(figure.data).partition(",")
    assert kind == "data:image/png;base64"
    assert b64decode(picture).startswith(b"\x89PNG")
