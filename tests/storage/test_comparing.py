"""What differs between a room and its copy is found, and named."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from collabkernel.storage.comparing import compare
from collabkernel.storage.copying import find_image
from collabkernel.storage.sql import SqlStorage
from collabkernel.storage.standing import SHARES
from tests.contract.authors import NOW_MS
from tests.storage.two_databases import differences, fill, fill_files, migrating, store

pytestmark = pytest.mark.anyio

DAMAGES = (
    ("UPDATE blobs SET data = X'78'", "is damaged"),
    ("UPDATE versions SET data = X'78'", "versions: seq 29 differs in data"),
    ("UPDATE ops SET payload = X'78' WHERE seq = 12", "ops: seq 12 differs in payload"),
    ("DELETE FROM ops WHERE seq = 11", "ops: seq 11 is missing in the copy"),
)
"""One after the other: each is told before those that are there already."""


async def test_verify_names_the_first_difference_and_the_room_stays(storage: SqlStorage, new: SqlStorage):
    await fill(storage)
    async with migrating(storage, new) as work:
        await work.catch_up()
        assert await differences(work) == {"plan": "", "": ""}
        for damage, told in DAMAGES:
            await new.write(lambda each, damage=damage: each.execute(text(damage)))  # type: ignore[misc]
            assert told in (await differences(work))["plan"]

        assert [room_id async for room_id in work.switch(SHARES)] == []

        assert "plan" in work.failures
        assert await storage.head("plan") is not None


@pytest.mark.long
async def test_what_may_change_is_made_the_same_again(storage: SqlStorage, new: SqlStorage):
    await fill(storage)
    await fill_files(storage)
    async with migrating(storage, new) as work:
        await work.catch_up()
        seen = await storage.read(lambda each: find_image(each, "plan"))
        assert seen is not None
        for damage in ("DELETE FROM sites WHERE site = 8", "UPDATE saves SET hash = 'x'", "DELETE FROM refusals"):
            await new.write(lambda each, damage=damage: each.execute(text(damage)))  # type: ignore[misc]
        assert (await compare(storage, new, seen)).difference == "sites: site 8 is in the truth alone"

        assert await differences(work) == {"plan": "", "": ""}


async def test_a_room_that_is_written_to_is_compared_as_it_was_when_it_was_copied(storage: SqlStorage, new: SqlStorage):
    author = await fill(storage)
    seen = await storage.read(lambda each: find_image(each, "plan"))
    assert seen is not None
    async with migrating(storage, new) as work:
        await work.catch_up()
        first = await compare(storage, new, seen)
        await store(storage, author.next())
        await storage.resume_site("plan", 7, NOW_MS)
        await storage.save_version("plan", 33, "", b"later", NOW_MS)
        later = await compare(storage, new, seen, is_deep=True)
        (verified,) = [each async for each in work.verify() if each.room_id]

    assert first.difference == later.difference == verified.difference == ""
    assert (first.ops_count, first.checksum) == (27, later.checksum)
    assert verified.ops_count == 28
    assert verified.checksum != first.checksum
    assert (await compare(storage, new, seen, after_seq=30)).difference == "rooms: seq is 32, and in the copy 33"
