"""Who may keep a room: one server at a time, and nobody of before."""

from __future__ import annotations

from pathlib import Path

import pytest

from collabkernel.crdt.ids import KEEPER_SITE
from collabkernel.document.operations import BlockDelete, document_id
from collabkernel.limits import Limits
from collabkernel.room.events import Keeping
from collabkernel.room.keeper import KEEPER_ACTOR
from collabkernel.server.keeper_leases import KeeperLeases
from collabkernel.storage import open_storage
from collabkernel.storage.base import Appended, AppendRequest, NotAppended, Storage
from collabkernel.wire.ops import encode_op, op_kind

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("url", ["memory://", "sqlite"])]

NOW_MS = 1_800_000_000_000
LIMITS = Limits()


async def opened(url: str, path: Path) -> Storage:
    storage = open_storage(f"sqlite:///{path / 'rooms.sqlite'}" if url == "sqlite" else url)
    await storage.open()
    await storage.create_room("board", NOW_MS)
    return storage


def server(storage: Storage, name: str) -> KeeperLeases:
    return KeeperLeases(storage, name, LIMITS, lambda: NOW_MS)


async def write(storage: Storage, keeping: Keeping) -> Appended | NotAppended:
    """Store an operation as the keeper."""
    op = BlockDelete(document_id("body"))
    (answer,) = await storage.append(
        [
            AppendRequest(
                "board",
                KEEPER_SITE,
                keeping.epoch,
                keeping.next_counter,
                keeping.seq,
                1,
                KEEPER_ACTOR,
                ((op_kind(op), encode_op(op)),),
            )
        ]
    )
    return answer


async def test_one_server_keeps_a_room_until_it_gives_it_back(url: str, tmp_path: Path) -> None:
    storage = await opened(url, tmp_path)
    here, there = server(storage, "here"), server(storage, "there")

    keeping = await here.take("board")

    assert keeping is not None
    assert (keeping.next_counter, keeping.seq, keeping.until_ms) == (1, 0, NOW_MS + LIMITS.keeper_lease_ms)
    assert await there.take("board") is None
    assert isinstance(await write(storage, keeping), Appended)
    await here.release("board", keeping)
    other = await there.take("board")
    assert other is not None
    assert (other.next_counter, other.seq) == (2, 1)
    await storage.close()


async def test_who_lost_the_lease_can_store_nothing_more(url: str, tmp_path: Path) -> None:
    storage = await opened(url, tmp_path)
    here = server(storage, "here")
    keeping = await here.take("board")
    assert keeping is not None
    again = await here.take("board")  # as by a server that takes over, since this one was cut off for long
    assert again is not None

    answer = await write(storage, keeping)

    assert isinstance(answer, NotAppended)
    assert answer.code == "fenced"
    assert isinstance(await write(storage, again), Appended)
    await here.release("board", keeping)
    assert await server(storage, "there").take("board") is None
    await storage.close()


async def test_a_room_whose_site_is_a_sessions_has_no_keeper(url: str, tmp_path: Path) -> None:
    storage = await opened(url, tmp_path)
    await storage.new_site("board", KEEPER_SITE, "ann", 1, b"h" * 32, NOW_MS)

    assert await server(storage, "here").take("board") is None
    row = await storage.site("board", KEEPER_SITE)
    assert row is not None
    assert row.epoch == 1
    await storage.close()


async def test_a_lease_that_cannot_be_given_back_harms_nobody(
    url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage = await opened(url, tmp_path)
    here = server(storage, "here")
    keeping = await here.take("board")
    assert keeping is not None
    await storage.close()

    await here.release("board", keeping)

    assert "it expires by itself" in caplog.text
