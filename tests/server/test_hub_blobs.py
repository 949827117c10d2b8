"""A hub whose snapshots are in S3, which goes away and comes back: rooms open, and nothing of them is lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from collabkernel.crdt.ids import ROOT
from collabkernel.crdt.yjs.policy import FILE_POLICY
from collabkernel.document.operations import MapSet
from collabkernel.errors import DegradedError
from collabkernel.limits import Limits
from collabkernel.server.hub import Hub
from collabkernel.storage import blobs
from collabkernel.storage.blobs import BlobStore
from collabkernel.storage.sql import SqlStorage
from tests.contract.line import Line
from tests.contract.s3 import S3, SECRET, running_s3
from tests.server.raw import eventually, join, run
from tests.server.test_hub_documents import ROOM, YClient, entered, seed

LIMITS = replace(Limits(), snapshot_ops=1, snapshot_min_interval_ms=0, catch_up_ops=1)
DOCUMENT_LIMITS = replace(Limits(), snapshot_log_bytes=1, snapshot_log_interval_ms=0, compact_cpu_percent=100)


@pytest.fixture
def s3() -> Iterator[S3]:
    """A server of its own."""
    with running_s3() as server:
        yield server


@pytest.fixture
def line(s3: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """What is between the hub and S3."""
    line = Line(lambda: ("127.0.0.1", s3.port))
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{line.port}")
    monkeypatch.setattr(blobs, "AWAY_S", 0.0)
    yield line
    line.close()


def serve(path: Path, url: str, scenario: Callable[[Hub], Awaitable[None]], limits: Limits = LIMITS) -> None:
    """A hub from its start to its end."""
    storage = SqlStorage(f"sqlite:///{path}/rooms.db", blobs=BlobStore(url, outside_bytes=0))
    run(scenario, Hub(storage, limits))  # type: ignore[arg-type]  # all of them are coroutines


async def in_s3(s3: S3, count: int) -> bool:
    return len(await asyncio.to_thread(s3.keys)) >= count


async def is_snapshot_at(hub: Hub, seq: int) -> bool:
    """Whether the database knows of it: its blobs are outside before."""
    row = await hub.storage.head("board")
    return row is not None and row.snapshot_seq >= seq


def test_a_room_opens_from_its_log_while_s3_is_away_and_goes_on_when_it_is_back(
    s3: S3, line: Line, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(hub: Hub) -> None:
        ann = await join(hub)
        for counter in range(1, 4):
            await ann.store(counter, MapSet(ROOT, f"k{counter}", counter))
            await eventually(lambda counter=counter: in_s3(s3, counter))  # type: ignore[misc]
            await eventually(lambda counter=counter: is_snapshot_at(hub, counter))  # type: ignore[misc]

    async def without_s3(hub: Hub) -> None:
        line.cut()
        before = await asyncio.to_thread(s3.keys)
        bob = await join(hub, actor="bob")
        assert (await hub.room_state("board"))["state"] == {"k1": 1, "k2": 2, "k3": 3}
        assert await bob.store(1, MapSet(ROOT, "k4", 4)) == 4
        line.heal()
        assert await bob.store(2, MapSet(ROOT, "k5", 5)) == 5
        await eventually(lambda: in_s3(s3, len(before) + 1))
        await eventually(is_told)  # which follows what is there

    async def is_told() -> bool:
        return "can be reached again" in caplog.text

    async def back(hub: Hub) -> None:
        await join(hub, actor="eve")
        assert (await hub.room_state("board"))["state"] == {f"k{n}": n for n in range(1, 6)}

    for scenario in (work, without_s3, back):
        serve(tmp_path, s3.url, scenario)
    assert "Room board is made again from its log after 0" in caplog.text
    assert "Large parts of snapshots go into the database for now" in caplog.text
    assert "can be reached again" in caplog.text
    assert SECRET not in caplog.text


def test_a_session_is_caught_up_while_s3_is_away(s3: S3, line: Line, tmp_path: Path) -> None:
    async def scenario(hub: Hub) -> None:
        ann = await join(hub)
        for counter in range(1, 4):
            await ann.store(counter)
        await eventually(lambda: in_s3(s3, 1))
        line.cut()
        bob = await join(hub, actor="bob")
        assert [message.snapshot.seq for message in bob.messages if message.snapshot is not None]
        assert await bob.store(1) == 4
        await ann.until(lambda: ann.through == 4)

    serve(tmp_path, s3.url, scenario)


def test_a_document_that_only_s3_has_is_told_to_come_back_and_opens_when_it_is_back(
    s3: S3, line: Line, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(hub: Hub) -> None:
        await hub.seed_document(ROOM, seed("seed"), "ann")
        (ann,) = await entered(hub, "ann")
        await ann.type(", and more")

        async def is_dropped() -> bool:
            row = await hub.storage.head(ROOM)
            return row is not None and (row.seq, row.dropped_seq) == (2, 1)

        await eventually(is_dropped)

    async def without_s3(hub: Hub) -> None:
        line.cut()
        bob = YClient("bob")
        bob.connection = await hub.open_document(ROOM, bob.principal, bob, FILE_POLICY)
        await bob.until(lambda: bob.closed)
        assert bob.closed is not None
        assert bob.closed[0] == "degraded"
        assert bob.closed[1] == DegradedError().told, "where blobs are is the operator's alone"
        line.heal()
        (eve,) = await entered(hub, "eve")
        assert eve.text == "seed, and more"
        await eve.type(".")
        await eve.until(lambda: eve.echoed_text == "seed, and more.")

    serve(tmp_path, s3.url, work, DOCUMENT_LIMITS)
    with caplog.at_level(logging.INFO):
        serve(tmp_path, s3.url, without_s3, DOCUMENT_LIMITS)
    assert SECRET not in caplog.text
