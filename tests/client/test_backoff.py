"""The waits between tries."""

from __future__ import annotations

import pytest

from collabkernel.client.backoff import Backoff

pytestmark = pytest.mark.core


class Most:
    """Chance that always gives the most."""

    def uniform(self, a: float, b: float) -> float:
        assert a == 0
        return b


def test_the_bound_doubles_up_to_the_most():
    backoff = Backoff(100, 1000, Most())

    assert [backoff.next_ms() for _ in range(6)] == [100, 200, 400, 800, 1000, 1000]
    backoff.reset()
    assert backoff.next_ms() == 100


def test_what_the_server_asks_for_is_waited_for_first():
    assert Backoff(100, 1000, Most()).next_ms(at_least_ms=5000) == 5100


def test_a_thousand_tries_do_not_overflow():
    backoff = Backoff(100, 10_000, Most())

    assert [backoff.next_ms() for _ in range(1000)][-1] == 10_000
