"""Tables whose rows change are made the same page by page."""

from __future__ import annotations

import random

import pytest

from collabkernel.storage import mirroring
from collabkernel.storage.sql import SqlStorage
from tests.contract.authors import NOW_MS, enter
from tests.storage.two_databases import differences, migrating

pytestmark = pytest.mark.anyio


@pytest.mark.long
@pytest.mark.parametrize("page_rows", [2, 50])
async def test_rows_are_made_the_same_whatever_has_changed(
    storage: SqlStorage, new: SqlStorage, page_rows: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(mirroring, "PAGE_ROWS", page_rows)
    rng = random.Random(page_rows)
    await enter(storage)
    async with migrating(storage, new) as work:
        for _ in range(4):
            for site in rng.sample(range(10, 30), 5):
                if not await storage.new_site("plan", site, "ann", 1, bytes(32), NOW_MS):
                    await storage.resume_site("plan", site, NOW_MS)
            await storage.free_sites("plan", 12, NOW_MS + rng.randrange(-1, 2))
            await storage.file_by_path(f"{rng.randrange(4)}/a.py", create=True, now_ms=NOW_MS)
            await storage.move_file(str(rng.randrange(4)), str(rng.randrange(4)), NOW_MS)

            assert await differences(work) == {"plan": "", "": ""}


async def test_paths_may_be_exchanged(storage: SqlStorage, new: SqlStorage):
    async with migrating(storage, new) as work:
        for path in ("a", "b"):
            await storage.file_by_path(path, create=True, now_ms=NOW_MS)
        await work.follow()
        for old, to in (("a", "c"), ("b", "a"), ("c", "b")):
            await storage.move_file(old, to, NOW_MS)

        await work.follow()

        assert await differences(work) == {"": ""}
        assert work.failures == {}
