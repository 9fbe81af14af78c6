"""What tests need of the machine: without it they skip and say so, and fail under PACORE_REQUIRE_CONTRACT=1."""

import os
import shutil

import pytest


def need_bubblewrap() -> None:
    """Go on only where bubblewrap is installed."""
    if not shutil.which("bwrap"):
        complaint = "bubblewrap is not installed: apt install bubblewrap"
        pytest.fail(complaint) if os.environ.get("PACORE_REQUIRE_CONTRACT") == "1" else pytest.skip(complaint)
