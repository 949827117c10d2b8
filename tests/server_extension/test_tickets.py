"""Tickets are spent once, bound, bounded, and not kept in the clear."""

from __future__ import annotations

import pytest
from collabkernel_server.tickets import TicketBox, check_origin_name
from jupyter_server.auth import User

from collabkernel.errors import BadTicketError, InvalidValueError
from collabkernel.wire.messages import Role

ANN = User("ann")


class Clock:
    """A clock that the test moves."""

    now_ms = 1_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def box(clock: Clock) -> TicketBox:
    return TicketBox(ttl_ms=60_000, outstanding_max=3, now_ms=clock)


def test_ticket_carries_user_room_role_and_origin(box: TicketBox) -> None:
    secret, expires_ms = box.mint("planning", ANN, Role.READER, "https://elsewhere.org")

    ticket = box.spend(secret, "planning")

    assert expires_ms == 61_000
    assert (ticket.user, ticket.role, ticket.origin) == (ANN, Role.READER, "https://elsewhere.org")


def test_ticket_is_spent_once(box: TicketBox) -> None:
    secret, _ = box.mint("planning", ANN, Role.WRITER)
    box.spend(secret, "planning")

    with pytest.raises(BadTicketError, match="already spent"):
        box.spend(secret, "planning")


def test_ticket_for_another_room_is_refused_and_gone(box: TicketBox) -> None:
    secret, _ = box.mint("planning", ANN, Role.WRITER)

    with pytest.raises(BadTicketError, match="another room"):
        box.spend(secret, "salaries")
    with pytest.raises(BadTicketError, match="unknown"):
        box.spend(secret, "planning")


def test_ticket_expires(box: TicketBox, clock: Clock) -> None:
    secret, expires_ms = box.mint("planning", ANN, Role.WRITER)
    clock.now_ms = expires_ms

    with pytest.raises(BadTicketError, match="expired"):
        box.spend(secret, "planning")


def test_one_who_mints_without_end_spoils_his_own_tickets_alone(box: TicketBox) -> None:
    ann, _ = box.mint("planning", ANN, Role.WRITER)
    eves = [box.mint("planning", User("eve"), Role.READER)[0] for _ in range(50)]

    assert box.spend(ann, "planning").user == ANN
    assert box.spend(eves[-1], "planning").user.username == "eve"
    assert len(box) == 1


def test_too_many_tickets_push_the_oldest_out(box: TicketBox) -> None:
    secrets = [box.mint("planning", ANN, Role.WRITER)[0] for _ in range(5)]

    assert len(box) == 3
    with pytest.raises(BadTicketError):
        box.spend(secrets[1], "planning")
    assert box.spend(secrets[2], "planning").user == ANN


def test_expired_tickets_are_dropped_when_another_is_made(box: TicketBox, clock: Clock) -> None:
    box.mint("planning", ANN, Role.WRITER)
    clock.now_ms += 60_000
    box.mint("planning", ANN, Role.WRITER)

    assert len(box) == 1


def test_box_does_not_keep_the_secret(box: TicketBox) -> None:
    secret, _ = box.mint("planning", ANN, Role.WRITER)

    assert secret not in repr(vars(box))
    assert secret not in repr(box.spend(secret, "planning"))


@pytest.mark.parametrize("secret", ["", "nonsense", "\udc80", "x" * 100_000])
def test_nonsense_is_refused(box: TicketBox, secret: str) -> None:
    with pytest.raises(BadTicketError):
        box.spend(secret, "planning")


def test_origin_is_normalised() -> None:
    assert check_origin_name("HTTPS://Example.org:8443") == "https://example.org:8443"
    assert check_origin_name("vscode-webview://0a1b") == "vscode-webview://0a1b"


@pytest.mark.parametrize(
    "origin", ["null", "example.org", "https://", "https://a/b", "https://a b", "*", "https://a?x"]
)
def test_origin_that_names_nobody_is_refused(origin: str) -> None:
    with pytest.raises(InvalidValueError, match="scheme://host"):
        check_origin_name(origin)
