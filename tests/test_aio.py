"""``collabkernel.aio.connect``."""

from __future__ import annotations

import pytest

import collabkernel as ck
from collabkernel.client.discover import NoServerError
from collabkernel.errors import InvalidRoomNameError, InvalidValueError

pytestmark = pytest.mark.anyio


async def test_it_joins_a_room_and_saves_at_the_end():
    async with ck.aio.connect("aio", url="memory://", name="ann", kind="agent") as room:
        room.text("note").append("Hello")
        await room.flush()
        async with ck.aio.connect("aio", url="memory://") as other:
            assert other.text("note") == "Hello"
            assert [(each.actor, each.kind) for each in other.others] == [("ann", "agent")]


async def test_a_reservation_for_no_server_says_what_to_do(monkeypatch):
    monkeypatch.delenv("COLLABKERNEL_URL", raising=False)

    with pytest.raises(NoServerError, match="memory://"):
        async with ck.aio.connect("x"):
            pass


@pytest.mark.parametrize("url", ["ftp://x/", "nonsense"])
async def test_a_strange_url_is_refused(url):
    with pytest.raises(InvalidValueError):
        async with ck.aio.connect("x", url=url):
            pass


async def test_a_bad_room_name_is_refused():
    with pytest.raises(InvalidRoomNameError):
        async with ck.aio.connect("no/slash", url="memory://", timeout_s=5):
            pass
