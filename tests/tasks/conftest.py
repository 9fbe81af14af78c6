"""Stores written by hand."""

from collections.abc import Callable

import pytest

from tasks.campaign.plan import Plan
from tests.tasks.ledger import Ledger


@pytest.fixture
def ledger(plan: Callable[..., Plan]) -> Callable[..., Ledger]:
    """Write a store for a campaign; takes what `campaign_file` takes."""
    return lambda **keys: Ledger(plan(**keys))
