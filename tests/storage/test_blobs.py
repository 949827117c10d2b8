"""Blobs outside the database, as a driver of fsspec has them: what is told when it has not."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from collabkernel import metrics
from collabkernel.errors import BlobLostError, BlobsAwayError, StorageError
from collabkernel.storage import blobs
from collabkernel.storage.blobs import CALLS_AT_ONCE, GRACE_MS, BlobStore, write_durably
from tests.bounds import HANG_S

pytestmark = pytest.mark.anyio
NAME = "ab" * 32


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[BlobStore]:
    """An open one in a folder."""
    store = BlobStore((tmp_path / "blobs").as_uri())
    store.open("ours")
    yield store
    store.close()


def failures() -> float:
    return metrics.blob_failures.collect()[0].samples[0].value


async def test_what_was_written_is_read_and_removed(store: BlobStore, tmp_path: Path) -> None:
    place = await store.write(7, NAME, b"state")
    again = await store.write(7, NAME, b"state")

    assert place != again, "a place is written once"
    assert await store.read(place, bytes.upper) == b"STATE"
    assert (tmp_path / "blobs" / place).stat().st_mode & 0o777 == 0o600
    assert await store.rooms() == [7]
    await store.remove([place, again, place])
    with pytest.raises(BlobLostError, match=place):
        await store.read(place, bytes)
    assert await store.read(await store.write(7, NAME, b""), bytes) == b"", "what is lost is no failure of the place"


async def test_memory_of_fsspec_will_do_as_well() -> None:
    store = BlobStore("memory://blobs")
    store.open("ours")
    place = await store.write(1, NAME, b"state")
    assert await store.read(place, bytes) == b"state"
    assert await store.rooms() == [1]
    await store.remove([place])
    store.close()


async def test_only_old_files_of_our_own_are_garbage(store: BlobStore, tmp_path: Path) -> None:
    assert await store.rooms() == await store.old_places(7) == []
    now_ms = time.time_ns() // 1_000_000
    old = f"ours/7/{NAME}.{now_ms - GRACE_MS - 1000}.00000000"
    others = [f"ours/7/{NAME}.{now_ms - GRACE_MS + 60_000}.00000000", "ours/7/README", f"theirs/7/{NAME}.1.00000000"]
    for place in (old, *others):
        write_durably(tmp_path / "blobs" / place, b"")

    assert await store.old_places(7) == [old]
    assert await store.rooms() == [7]


async def test_who_asks_soon_after_a_failure_is_told_at_once_and_later_it_is_tried(
    store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "blobs"
    root.write_text("a file, where a folder should be")
    before = failures()
    for _ in range(3):
        with pytest.raises(BlobsAwayError, match="NotADirectoryError"):
            await store.write(7, NAME, b"state")
    assert failures() - before == 1
    root.unlink()
    with pytest.raises(BlobsAwayError):
        await store.write(7, NAME, b"state")
    with caplog.at_level(logging.WARNING):
        monkeypatch.setattr(blobs, "AWAY_S", 0.0)
        await store.write(7, NAME, b"state")
    begun, ended = [record.message for record in caplog.records]
    assert begun.startswith("Large parts of snapshots go into the database for now")
    assert ended == f"Blobs in {root.as_uri()} can be reached again"


async def test_calls_that_hang_are_given_up_and_keep_their_threads(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blobs, "CALL_S", 0.05)
    monkeypatch.setattr(blobs, "AWAY_S", 0.0)
    place = await store.write(7, NAME, b"state")
    go_on, hanging = threading.Event(), []

    def hang(data: bytes) -> bytes:
        hanging.append(threading.current_thread().name)
        assert go_on.wait(HANG_S)
        return data

    asked = [store.read(place, hang) for _ in range(2 * CALLS_AT_ONCE)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(answer) for answer in answers] == [BlobsAwayError] * len(asked)
    assert len(set(hanging)) == len(hanging) == CALLS_AT_ONCE, "no thread is made for what waits"
    go_on.set()
    monkeypatch.setattr(blobs, "CALL_S", HANG_S)
    assert await store.read(place, bytes) == b"state"


async def test_a_store_that_is_closed_is_asked_nothing(store: BlobStore) -> None:
    store.close()
    with pytest.raises(BlobsAwayError, match="closed"):
        await store.write(7, NAME, b"state")


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("s3://key:hidden@bucket/rooms", "AWS_ACCESS_KEY_ID"),
        ("s3://bucket/rooms?secret=hidden", "AWS_ACCESS_KEY_ID"),
        ("/srv/hidden", "file:///srv/blobs"),
        ("file:///", "file:///srv/blobs"),
        ("nosuch://place", "nosuch"),
    ],
)
def test_what_is_no_url_says_what_is(url: str, advice: str) -> None:
    with pytest.raises(StorageError, match=advice) as raised:
        BlobStore(url)
    assert "key" not in url or "hidden" not in str(raised.value)


def test_without_its_driver_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(StorageError, match=r"pip install 'collabkernel\[blobs\]'"):
        BlobStore("file:///srv/blobs")
