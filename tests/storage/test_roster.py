"""Sites that are closed. Nothing closes one yet; a database may hold some all the same."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from collabkernel.storage.base import NotAppended, Refusal
from collabkernel.storage.database import Database
from collabkernel.storage.sql import SqlStorage
from collabkernel.storage.tables import sites
from tests.contract.authors import NOW_MS, enter

pytestmark = pytest.mark.anyio


async def test_a_closed_site_is_neither_resumed_nor_written_by(storage: SqlStorage, database: Database):
    ann = await enter(storage)
    await database.write(lambda connection: connection.execute(update(sites).values(closed=True)))

    assert (await storage.site("plan", 7)).closed is True
    assert await storage.resume_site("plan", 7, NOW_MS) is None
    assert await storage.append([ann.next()]) == [NotAppended("fenced", "site 7 is closed")]
    assert await storage.refuse("plan", 7, 1, Refusal(1, 1, "rate", "")) is False
    assert await storage.new_site("plan", 7, "bob", 1, b"", NOW_MS) is False
