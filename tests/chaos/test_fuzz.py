"""The short selection of the fuzzing that `make chaos` does."""

import signal
from pathlib import Path

import pytest

from tasks.campaign.campaign_file import CampaignError
from tests.chaos.fuzz import KINDS, Findings, time_limit

INPUTS = 300


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_what_no_one_should_have_written_is_taken_or_ends_in_one_line(kind: str, tmp_path: Path) -> None:
    findings = KINDS[kind](INPUTS, 0, tmp_path)
    assert sum(findings.ends.values()) == INPUTS
    assert len(findings.ends) > 1
    assert [f"input {number}: {what}" for number, what, _ in findings.wrong.values()] == []


def test_a_traceback_a_long_complaint_and_a_hang_are_found() -> None:
    findings = Findings("inputs")

    def escape() -> str:
        raise KeyError("x")

    def complain() -> str:
        raise CampaignError(3_000 * "x")

    def hang() -> str:
        with time_limit(0.01):
            signal.pause()
        return "never"

    for number, call in enumerate([lambda: "taken", escape, complain, hang]):
        findings.check(number, None, call)
    assert findings.ends == {"taken": 1, "CampaignError": 1, "ESCAPED": 2}
    assert [number for number, _, _ in findings.wrong.values()] == [1, 2, 3]
