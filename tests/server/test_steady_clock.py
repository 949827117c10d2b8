"""The clock of a server goes with the machine's, and never back."""

from __future__ import annotations

import pytest

from collabkernel.server.steady_clock import SteadyClock

T0_MS = 1_800_000_000_000


class Machine:
    """Two clocks that a test sets."""

    def __init__(self) -> None:
        self.wall_ms = T0_MS
        self.elapsed_ms = 5_000.0
        self.clock = SteadyClock(lambda: self.wall_ms, lambda: self.elapsed_ms)

    def pass_ms(self, ms: int) -> int:
        self.wall_ms += ms
        self.elapsed_ms += ms
        return self.clock()


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_it_is_the_machines_clock(machine: Machine):
    assert [machine.pass_ms(ms) for ms in (0, 1, 999, 60_000)] == [T0_MS, T0_MS + 1, T0_MS + 1000, T0_MS + 61_000]


def test_it_goes_forward_with_it_at_once(machine: Machine):
    machine.wall_ms += 30_000

    assert machine.pass_ms(10) == T0_MS + 30_010


def test_when_that_is_set_back_it_goes_on_more_slowly_until_they_agree(machine: Machine):
    machine.wall_ms -= 30_000

    assert machine.pass_ms(1000) == T0_MS + 900
    told = [machine.pass_ms(1000) for _ in range(298)]
    assert told[-1] == T0_MS + 299 * 900
    assert told[-1] > machine.wall_ms
    assert machine.pass_ms(2000) == machine.wall_ms
