from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tasks.campaign.campaign_file import CampaignError
from tasks.serving.serving_file import load_serving

File = Callable[..., Path]


def test_a_campaigns_file_serves_its_first_method_that_answers(campaign_file: File) -> None:
    file = campaign_file(methods=["sc@4", "low", [2, 2]], template="own.jinja")
    serving = load_serving(file)
    assert (serving.name, serving.pool) == ("sim-low", 4)
    assert serving.store == str(file.parent / "store")
    assert serving.template == str(file.parent / "own.jinja")


@pytest.mark.parametrize(("method", "widths"), [("mine", [3, 1]), ("[2, 2]", [2, 2, 1]), ("sequential@3", [1, 1, 1])])
def test_a_method_is_named_as_the_campaign_or_any_file_would(
    campaign_file: File, method: str, widths: list[int]
) -> None:
    file = campaign_file(methods=["low", {"name": "mine", "rounds": [3]}])
    assert load_serving(file, method).method.widths == widths


def test_a_served_request_does_not_wait_for_an_outage_to_end(campaign_file: File) -> None:
    assert load_serving(campaign_file()).engine.model_dump()["patience_seconds"] == 0


def test_a_file_to_serve_needs_no_benchmark(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text(yaml.safe_dump({"sampler": {"model": "m"}, "engine": {"kind": "local"}, "method": [8]}))
    serving = load_serving(file)
    assert (serving.name, serving.store, serving.pool) == ("m-[8]", None, None)
    assert load_serving(file, "high").method.widths == [32, 4, 1]


def test_a_key_that_is_unknown_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text("limits: {request: 4}\n")
    with pytest.raises(CampaignError, match=r"limits.request is no key; known here: requests, body_bytes"):
        load_serving(file)
