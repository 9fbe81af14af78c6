from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.engine import Completion
from tasks.campaign.campaign_file import CampaignError, load_campaign
from tasks.campaign.plan import Plan
from tasks.campaign.price import Price, busy, cost_of_a_token
from tasks.reasoning.draw import pool_draw
from tasks.reasoning.generate import trajectory_row
from tasks.store.tables import trajectories_table

START = datetime(2026, 1, 1, tzinfo=UTC)


def span(start: float, end: float) -> tuple[datetime, datetime]:
    return START + timedelta(seconds=start), START + timedelta(seconds=end)


@pytest.mark.parametrize(
    ("spans", "seconds"),
    [
        ([], 0),
        ([(0, 10)], 10),
        ([(0, 10), (5, 20)], 20),
        ([(5, 20), (0, 10), (6, 7)], 20),
        ([(0, 10), (3600, 3610)], 20),
    ],
)
def test_time_that_several_share_counts_once_and_a_pause_not_at_all(
    spans: list[tuple[float, float]], seconds: float
) -> None:
    assert busy([span(*ends) for ends in spans]).total_seconds() == seconds


def stored(plan: Plan) -> list[str]:
    """Two trajectories of 1,800 s and 500 tokens that overlap for 900 s, and an imported one."""
    problem = plan.problems[0]
    rows = []
    for number, (start, seconds) in enumerate([(0, 1800), (900, 1800), (0, 0)]):
        started = START + timedelta(seconds=start)
        done = Completion(None, "", "stop", 1, 0, 500, 0, "test", started, seconds, 1)
        rows.append(trajectory_row("sim", pool_draw(plan, problem, number), done, None))
    trajectories_table(plan.campaign.store).commit(plan.partition, rows)
    return [problem.fingerprint]


def test_gpu_hours_are_shared_by_the_tokens_generated_in_them(plan: Callable[..., Plan]) -> None:
    here = plan()
    where = here.campaign.store, here.partition, stored(here)
    assert cost_of_a_token(Price(gpus=8), *where) == pytest.approx(8 * 0.75 / 1000)
    assert cost_of_a_token(Price(gpus=8, gpu_hour=2.5), *where) == pytest.approx(2.5 * 8 * 0.75 / 1000)
    assert cost_of_a_token(Price(per_million_tokens=0.5), *where) == pytest.approx(0.5e-6)
    assert cost_of_a_token(None, *where) is None
    assert cost_of_a_token(Price(gpus=8), *where[:2], []) is None


@pytest.mark.parametrize("price", [{}, {"gpu_hour": 2}, {"gpus": 8, "per_million_tokens": 1}, {"gpus": 0}])
def test_a_price_that_is_none_or_two_is_refused(campaign_file: Callable[..., Path], price: dict[str, float]) -> None:
    with pytest.raises(CampaignError, match="price"):
        load_campaign(campaign_file(price=price))
