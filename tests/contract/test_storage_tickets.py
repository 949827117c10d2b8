"""The storage contract: one-use tickets, issued at one server and spent at any."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import sha256

import pytest

from collabkernel.errors import ClosedError
from collabkernel.storage.base import Storage, TicketRow
from tests.bounds import HANG_S
from tests.contract.databases import make_storage

pytestmark = pytest.mark.anyio
LONG_MS = 60_000
PLENTY = 10_000
ROUNDS = 20

Issue = Callable[..., Awaitable[TicketRow]]


@pytest.fixture
async def issue(storage: Storage) -> AsyncIterator[Issue]:
    """Issues tickets, and spends what is left of them: PostgreSQL is one database for all tests."""
    issued: list[TicketRow] = []
    numbers = itertools.count()

    async def issue_one(actor: str = "ann", ttl_ms: int = LONG_MS, tickets_max: int = PLENTY) -> TicketRow:
        digest = sha256(b"%d" % next(numbers)).digest()
        ticket = TicketRow(digest, "plan", actor, '{"name": "Änn"}', 1, "https://page.example", ttl_ms)
        issued.append(ticket)
        await storage.issue_ticket(ticket, tickets_max)
        return ticket

    yield issue_one
    for ticket in issued:
        await storage.spend_ticket(ticket.digest)


async def test_a_ticket_is_spent_once_at_another_server(storage: Storage, other: Storage, issue: Issue):
    ticket = await issue()

    spent = await other.spend_ticket(ticket.digest)

    assert spent is not None
    assert spent._replace(ttl_ms=LONG_MS) == ticket
    assert 0 < spent.ttl_ms <= LONG_MS
    assert await other.spend_ticket(ticket.digest) is None
    assert await storage.spend_ticket(ticket.digest) is None


async def test_of_two_servers_that_spend_it_at_once_one_gets_it(storage: Storage, other: Storage, issue: Issue):
    for _ in range(ROUNDS):
        ticket = await issue()

        spent = await asyncio.gather(*[each.spend_ticket(ticket.digest) for each in (storage, other) * 3])

        assert [row.digest for row in spent if row is not None] == [ticket.digest]


async def test_it_says_when_it_expires_by_one_clock(storage: Storage, other: Storage):
    tickets = [TicketRow(bytes([n]) * 32, "plan", "ann", "{}", 1, "", LONG_MS) for n in range(2)]

    first_ms = await storage.issue_ticket(tickets[0], PLENTY)
    second_ms = await other.issue_ticket(tickets[1], PLENTY)
    spent = [await storage.spend_ticket(ticket.digest) for ticket in tickets]

    assert first_ms <= second_ms < first_ms + LONG_MS
    assert all(row is not None and row.ttl_ms <= LONG_MS for row in spent)


async def test_an_expired_one_says_so_and_is_gone(storage: Storage, issue: Issue):
    ticket = await issue(ttl_ms=0)

    spent = await storage.spend_ticket(ticket.digest)

    assert spent is not None
    assert spent.ttl_ms <= 0
    assert await storage.spend_ticket(ticket.digest) is None


async def test_expired_ones_are_swept_when_another_is_issued(storage: Storage, issue: Issue):
    expired = [await issue(ttl_ms=1) for _ in range(3)]
    async with asyncio.timeout(HANG_S):
        while True:
            late = await issue(ttl_ms=1)  # each issue sweeps those that have expired by then
            if await storage.spend_ticket(expired[-1].digest) is None:
                break
            expired.append(late)

    assert [await storage.spend_ticket(ticket.digest) for ticket in expired[:3]] == [None, None, None]


async def test_who_asks_without_end_spoils_his_own_alone(storage: Storage, issue: Issue):
    ann, bob = await issue("ann"), await issue("bob")
    eves = [await issue("eve", ttl_ms=LONG_MS + n, tickets_max=5) for n in range(10)]

    left = [await storage.spend_ticket(ticket.digest) is not None for ticket in eves]

    assert left == [False] * 7 + [True] * 3
    assert await storage.spend_ticket(ann.digest) is not None
    assert await storage.spend_ticket(bob.digest) is not None


async def test_servers_that_are_full_issue_at_once_without_standing_in_each_others_way(
    storage: Storage, other: Storage, issue: Issue
):
    for n in range(10):
        await issue("eve", ttl_ms=LONG_MS + n, tickets_max=10)
    rows = [TicketRow(sha256(b"x%d" % n).digest(), "plan", "eve", "{}", 1, "", 2 * LONG_MS) for n in range(40)]

    await asyncio.gather(*[(storage, other)[n % 2].issue_ticket(row, 10) for n, row in enumerate(rows)])
    await issue("eve", ttl_ms=3 * LONG_MS, tickets_max=10)
    left = [row for row in rows if await storage.spend_ticket(row.digest) is not None]

    assert 9 <= len(left) <= 30, "the bound is passed by no more than those that were under way"


async def test_a_closed_storage_says_so(storage_url: str):
    storage = make_storage(storage_url)

    with pytest.raises(ClosedError):
        await storage.spend_ticket(bytes(32))
    with pytest.raises(ClosedError):
        await storage.issue_ticket(TicketRow(bytes(32), "plan", "ann", "{}", 1, "", LONG_MS), PLENTY)
