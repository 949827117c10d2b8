"""Tickets are spent once, bound, and not kept in the clear."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from collabkernel_server.tickets import check_origin_name, mint, spend
from jupyter_server.auth import User

from collabkernel.errors import BadTicketError, InvalidValueError
from collabkernel.limits import Limits
from collabkernel.server.outage import Outage
from collabkernel.server.tickets import Tickets
from collabkernel.storage.base import TicketRow
from collabkernel.storage.memory import MemoryStorage
from collabkernel.wire.messages import Role

ANN = User("ann", "Ann Lee", "Ann", "AL", color="#aabbcc")
TTL_MS = 60_000


@dataclass
class HubUser(User):
    """A user of a class of its own."""

    scopes: tuple[str, ...] = field(default=("access",))


class Watched(MemoryStorage):
    """Keeps what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[TicketRow] = []

    async def issue_ticket(self, ticket: TicketRow, tickets_max: int) -> int:
        self.rows.append(ticket)
        return await super().issue_ticket(ticket, tickets_max)


@pytest.fixture
async def storage() -> AsyncIterator[Watched]:
    storage = Watched()
    await storage.open()
    yield storage
    await storage.close()


@pytest.fixture
def tickets(storage: Watched) -> Tickets:
    limits = Limits()
    return Tickets(storage, Outage(limits, lambda: 0), limits)


@pytest.mark.anyio
async def test_ticket_carries_user_room_role_and_origin(tickets: Tickets) -> None:
    secret, _ = await mint(tickets, "planning", ANN, Role.READER, "https://elsewhere.org", TTL_MS)

    ticket = await spend(tickets, secret, "planning")

    assert (ticket.user, ticket.role, ticket.origin) == (ANN, Role.READER, "https://elsewhere.org")
    assert ticket.is_user_whole


@pytest.mark.anyio
async def test_a_user_of_another_class_is_told_apart(tickets: Tickets, storage: Watched) -> None:
    secret, _ = await mint(tickets, "planning", HubUser("ann"), Role.READER, "", TTL_MS)

    ticket = await spend(tickets, secret, "planning")

    assert (ticket.user, ticket.is_user_whole) == (User("ann"), False)
    assert "access" not in storage.rows[0].user


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["a\0b", "\udc80", "Änn 🎈"])
async def test_any_name_that_a_login_may_have_comes_back(tickets: Tickets, storage: Watched, name: str) -> None:
    secret, _ = await mint(tickets, "planning", User(name), Role.WRITER, "", TTL_MS)

    assert (await spend(tickets, secret, "planning")).user == User(name)
    assert "\0" not in storage.rows[0].actor + storage.rows[0].user, "no database takes it"
    assert (storage.rows[0].actor + storage.rows[0].user).encode()


@pytest.mark.anyio
async def test_ticket_is_spent_once(tickets: Tickets) -> None:
    secret, _ = await mint(tickets, "planning", ANN, Role.WRITER, "", TTL_MS)
    await spend(tickets, secret, "planning")

    with pytest.raises(BadTicketError, match="already spent"):
        await spend(tickets, secret, "planning")


@pytest.mark.anyio
async def test_ticket_for_another_room_is_refused_and_gone(tickets: Tickets) -> None:
    secret, _ = await mint(tickets, "planning", ANN, Role.WRITER, "", TTL_MS)

    with pytest.raises(BadTicketError, match="another room"):
        await spend(tickets, secret, "salaries")
    with pytest.raises(BadTicketError, match="unknown"):
        await spend(tickets, secret, "planning")


@pytest.mark.anyio
async def test_ticket_expires(tickets: Tickets) -> None:
    secret, _ = await mint(tickets, "planning", ANN, Role.WRITER, "", ttl_ms=0)

    with pytest.raises(BadTicketError, match="expired"):
        await spend(tickets, secret, "planning")


@pytest.mark.anyio
async def test_the_secret_is_not_kept(tickets: Tickets, storage: Watched) -> None:
    secret, _ = await mint(tickets, "planning", ANN, Role.WRITER, "", TTL_MS)

    assert secret not in repr(storage.rows)
    assert secret not in repr(await spend(tickets, secret, "planning"))


@pytest.mark.anyio
@pytest.mark.parametrize("secret", ["", "nonsense", "\udc80", "x" * 100_000])
async def test_nonsense_is_refused(tickets: Tickets, secret: str) -> None:
    with pytest.raises(BadTicketError):
        await spend(tickets, secret, "planning")


def test_origin_is_normalised() -> None:
    assert check_origin_name("HTTPS://Example.org:8443") == "https://example.org:8443"
    assert check_origin_name("vscode-webview://0a1b") == "vscode-webview://0a1b"


@pytest.mark.parametrize(
    "origin", ["null", "example.org", "https://", "https://a/b", "https://a b", "*", "https://a?x"]
)
def test_origin_that_names_nobody_is_refused(origin: str) -> None:
    with pytest.raises(InvalidValueError, match="scheme://host"):
        check_origin_name(origin)
