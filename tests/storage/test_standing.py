"""Which rooms may be made in a database, and how one stands in it."""

from __future__ import annotations

import pytest

from collabkernel.errors import MigrationError, MovedError
from collabkernel.storage import standing
from collabkernel.storage.sql import SqlStorage
from collabkernel.storage.standing import COPY, HERE, LEFT, SHARES, Placement, share_of
from tests.contract.authors import NOW_MS

pytestmark = pytest.mark.anyio


def test_shares_stay_for_ever_and_are_about_equal():
    assert [share_of(name) for name in ("planning", "a", "Ü")] == SHARES_OF
    count = sum(share_of(str(n)) < SHARES // 4 for n in range(4000))
    assert 900 < count < 1100


SHARES_OF = [2724, 2250, 7090]


async def test_a_database_has_all_until_it_is_told_otherwise(storage: SqlStorage):
    assert await storage.read(standing.find_placement) == Placement(0, SHARES, HERE, "")
    await storage.create_room("planning", NOW_MS)

    share = share_of("a")
    await storage.write(lambda each: standing.set_shares(each, share + 1, SHARES))
    with pytest.raises(MovedError):
        await storage.create_room("a", NOW_MS)
    await storage.write(lambda each: standing.set_shares(each, share, share + 1))
    assert (await storage.create_room("a", NOW_MS)).seq == 0
    await storage.write(lambda each: standing.set_shares(each, 0, share))
    assert (await storage.create_room("a", NOW_MS)).seq == 0, "what is there stays"


async def test_a_row_changes_only_from_what_it_is_thought_to_be(storage: SqlStorage):
    await storage.create_room("a", NOW_MS)

    assert not await storage.write(lambda each: standing.change(each, "a", COPY, HERE))
    assert await storage.write(lambda each: standing.change(each, "a", HERE, LEFT))
    assert await storage.read(lambda each: standing.find(each, "a")) == (LEFT, 0)
    await storage.write(lambda each: standing.remove_copy(each, "a"))
    assert await storage.read(lambda each: standing.find(each, "a")) is None
    assert not await storage.write(lambda each: standing.change_files(each, COPY, HERE))
    assert await storage.write(lambda each: standing.change_files(each, HERE, LEFT))


async def test_a_database_moves_with_one_other_at_a_time(storage: SqlStorage):
    await storage.write(lambda each: standing.set_peer(each, "one", 0, 0, COPY))
    await storage.write(lambda each: standing.set_peer(each, "one", 0, SHARES, HERE))
    assert await storage.read(standing.find_placement) == Placement(0, 0, COPY, "one"), "as it was begun"
    with pytest.raises(MigrationError, match="begun to move with another"):
        await storage.write(lambda each: standing.set_peer(each, "two", 0, 0, COPY))
    await storage.write(standing.finish)
    assert (await storage.read(standing.find_placement)).peer == ""
