"""A server asks its database for tickets a few at a time, and not at all while it does not answer."""

from __future__ import annotations

import asyncio

import pytest

from collabkernel.errors import DegradedError, TooManyError
from collabkernel.limits import Limits
from collabkernel.server.outage import Outage
from collabkernel.server.tickets import AT_ONCE, WAITING_MAX, Tickets
from collabkernel.storage.base import TicketRow
from collabkernel.storage.memory import MemoryStorage

pytestmark = pytest.mark.anyio
TICKET = TicketRow(b"d" * 32, "plan", "ann", "{}", 1, "", 60_000)


class SlowStorage(MemoryStorage):
    """Spends a ticket when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.answers = asyncio.Event()

    async def spend_ticket(self, digest: bytes) -> TicketRow | None:
        self.asked += 1
        await self.answers.wait()
        return await super().spend_ticket(digest)


class AwayStorage(MemoryStorage):
    """Does not answer."""

    async def issue_ticket(self, ticket: TicketRow, tickets_max: int) -> int:
        del ticket, tickets_max
        raise DegradedError("cut")

    async def spend_ticket(self, digest: bytes) -> TicketRow | None:
        del digest
        raise DegradedError("cut")


def outage() -> Outage:
    return Outage(Limits(), lambda: 0)


async def test_what_is_issued_is_spent_once():
    storage = MemoryStorage()
    await storage.open()
    tickets = Tickets(storage, outage(), Limits())

    await tickets.issue(TICKET)
    spent = await tickets.spend(TICKET.digest)

    assert spent is not None
    assert spent._replace(ttl_ms=TICKET.ttl_ms) == TICKET
    assert await tickets.spend(TICKET.digest) is None


async def test_so_many_are_kept_as_the_limits_say():
    storage = MemoryStorage()
    await storage.open()
    tickets = Tickets(storage, outage(), Limits(tickets_outstanding=1))
    await tickets.issue(TICKET)
    await tickets.issue(TICKET._replace(digest=b"e" * 32))

    assert await tickets.spend(TICKET.digest) is None
    assert await tickets.spend(b"e" * 32) is not None


async def test_a_crowd_with_made_up_ones_waits_in_a_line_that_ends():
    storage = SlowStorage()
    await storage.open()
    tickets = Tickets(storage, outage(), Limits())
    crowd = [asyncio.create_task(tickets.spend(b"%d" % n)) for n in range(WAITING_MAX)]
    await asyncio.sleep(0)

    with pytest.raises(TooManyError) as refused:
        await tickets.spend(b"one more")
    assert refused.value.retry_after_ms
    assert storage.asked == AT_ONCE

    storage.answers.set()
    assert await asyncio.gather(*crowd) == [None] * WAITING_MAX
    assert await tickets.spend(b"one more") is None


async def test_a_database_that_does_not_answer_is_noticed_and_then_not_asked():
    away = outage()
    tickets = Tickets(AwayStorage(), away, Limits())
    for ask in (lambda: tickets.issue(TICKET), lambda: tickets.spend(TICKET.digest)):
        away.is_suspected = False
        with pytest.raises(DegradedError, match="cut") as refused:
            await ask()
        assert refused.value.retry_after_ms
        assert away.is_suspected

    away.begin("cut")
    for ask in (lambda: tickets.issue(TICKET), lambda: tickets.spend(TICKET.digest)):
        with pytest.raises(DegradedError, match="database does not answer"):
            await ask()
