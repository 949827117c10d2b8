"""Waiting until somebody has what he should have."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.bounds import HANG_S


def wait_until_equal(read: Callable[[], Any], wanted: Any, pause: Callable[[], object]) -> None:
    """Look again and again; what differs at the end is in the failure."""
    deadline = time.monotonic() + HANG_S
    while (shown := read()) != wanted:
        assert time.monotonic() < deadline, f"it shows {shown}, not {wanted}"
        pause()
