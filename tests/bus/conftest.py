"""Buses of two servers over a Valkey of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from collabkernel.bus.redis import RedisBus
from tests.bus.readers import Heads
from tests.bus.valkey import Valkey, connected


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    started = Valkey(tmp_path / "valkey").start()
    yield started
    started.kill()


@pytest.fixture
def heads() -> Heads:
    return Heads()


@pytest.fixture
async def buses(valkey: Valkey, heads: Heads) -> AsyncIterator[list[RedisBus]]:
    """Of two servers."""
    buses = [RedisBus(valkey.url, heads, poll_ms=20) for _ in range(2)]
    for bus in buses:
        await bus.open()
        await connected(bus)
    yield buses
    for bus in buses:
        await bus.close()
