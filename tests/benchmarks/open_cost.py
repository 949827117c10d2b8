"""What it costs to open a long document and look at a part of it, on a real Jupyter server with SQLite.

What is measured, so that the figures are read aright:

- A document of headings and of paragraphs of 200 characters, by one author, with a snapshot at the log's head.
- *warm*: its room is loaded, since somebody is in it. *cold*: nobody has asked for it since the server started.
- The time goes from before the ticket is asked for until the texts of 50 blocks in the middle are read in Python: a
  ticket, a WebSocket, Hello, the tree, the viewport, the contents.
- *client*, *server*: processor time of the two processes meanwhile.
- *received*: bytes of all frames to the client. *tree*: bytes of the tree a block, before frames are deflated.
- *contents*: blocks whose contents came; they must not grow with what is off screen.
- *worked*: the same of a document that was worked in: 2,000 blocks, and 1,000,000 operations in its log and under its
  snapshot, each a letter typed or deleted. Each opening is the first of its room since its server started.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collabkernel.aio import replica_for
from collabkernel.client.async_room import AsyncRoom
from collabkernel.client.servers import Servers
from collabkernel.client.transport import Link, WebSocketConnector
from collabkernel.crdt.ids import ROOT, OpId, Slot
from collabkernel.crdt.order_key import key_between
from collabkernel.crdt.text import TextRope
from collabkernel.crdt.yjs.policy import ROPE_POLICY
from collabkernel.document.block_document import BlockDocument
from collabkernel.document.operations import BlockInsert, NewDocument, Op, TextEdit, document_id
from collabkernel.limits import Limits
from collabkernel.server.hub import wall_clock_ms
from collabkernel.server.reader import Reader
from collabkernel.storage import open_storage
from collabkernel.storage.base import AppendRequest, Storage
from collabkernel.wire.ops import encode_op, op_kind
from collabkernel.wire.room_state import TREE
from tests.benchmarks.report import Row, row
from tests.benchmarks.server_process import TOKEN, Server, running_server

SIZES = (1_000, 10_000, 30_000)
SHOWN = 50
HEADING_CHARS, PARAGRAPH_CHARS = 30, 200
SITE = 3_735_928_559
START_MS = 1_790_000_000_000
BATCH = 1000
WORKED_BLOCKS, WORKED_OPS, WORKED_OPS_QUICK = 2_000, 1_000_000, 50_000
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Opened:
    """One opening."""

    taken_ms: float
    client_ms: float
    server_ms: float
    received_bytes: int
    contents_blocks: int


def rows(is_quick: bool, sizes: Sequence[int] = SIZES) -> list[Row]:
    """Every cost; quick means fewer runs, not smaller sizes."""
    runs = 5 if is_quick else 15
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        tree_bytes = asyncio.run(_store(Path(folder), sizes, runs))
        with running_server(Path(folder)) as server:
            asyncio.run(_open(server, "cold-0-0", 0))  # whatever the first room of a server takes
            for size in sizes:
                found.append(row(f"open/tree/{size}", [tree_bytes[size] / size], "bytes/block"))
                cold = [asyncio.run(_open(server, f"cold-{size}-{run}", size)) for run in range(runs)]
                found += rows_of(f"open/cold/{size}", cold)
                found += rows_of(f"open/warm/{size}", asyncio.run(_open_warm(server, f"cold-{size}-0", size, runs)))
    return found


def worked_rows(is_quick: bool) -> list[Row]:
    """What it costs to open a document that was worked in; quick means a shorter log."""
    ops, servers = (WORKED_OPS_QUICK, 2) if is_quick else (WORKED_OPS, 5)
    opened: list[Opened] = []
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_store_worked(Path(folder), ops))
        for _ in range(servers):
            with running_server(Path(folder)) as server:
                asyncio.run(_open(server, "cold-0-0", 0))
                opened.append(asyncio.run(_open(server, "worked", WORKED_BLOCKS)))
    return list(rows_of(f"worked/cold/{WORKED_BLOCKS}_blocks/{ops}_ops", opened))


def rows_of(name: str, opened: Sequence[Opened]) -> Iterator[Row]:
    yield row(name, [each.taken_ms for each in opened], "ms")
    yield row(f"{name}/client", [each.client_ms for each in opened], "ms of processor")
    yield row(f"{name}/server", [each.server_ms for each in opened], "ms of processor")
    yield row(f"{name}/received", [each.received_bytes for each in opened], "bytes")
    yield row(f"{name}/contents", [each.contents_blocks for each in opened], "blocks")


# -- the documents


async def _store(folder: Path, sizes: Sequence[int], runs: int) -> dict[int, int]:
    """Write the rooms, each with a snapshot; the bytes of their trees by size."""
    storage = open_storage(f"sqlite:///{folder}/rooms.sqlite")
    await storage.open()
    tree_bytes = {}
    await store_document(storage, "cold-0-0", list(envelopes(0)))
    for size in sizes:
        written = list(envelopes(size))
        for run in range(runs):
            await store_document(storage, f"cold-{size}-{run}", written)
        snapshot = await storage.latest_snapshot(f"cold-{size}-0", (TREE,))
        assert snapshot is not None
        tree_bytes[size] = len(snapshot.parts[TREE])
    await storage.close()
    return tree_bytes


async def _store_worked(folder: Path, ops: int) -> None:
    storage = open_storage(f"sqlite:///{folder}/rooms.sqlite")
    await storage.open()
    await store_document(storage, "cold-0-0", envelopes(0))
    await store_document(storage, "worked", worked(WORKED_BLOCKS, ops))
    await storage.close()


def worked(blocks: int, ops_count: int) -> Iterator[tuple[Op, ...]]:
    """A document, and about ``ops_count`` operations on its texts: a letter typed, or the one before it deleted.

    All blocks of a length are typed in alike, since a rope of the real kind takes its time to make an edit.
    """
    yield from envelopes(blocks)
    edits = -(-(ops_count - 2 * blocks - 1) // blocks)
    updates_by_length = {length: list(_typed(length, edits)) for length in (HEADING_CHARS, PARAGRAPH_CHARS)}
    for nth in range(edits):
        for i in range(blocks):
            yield (TextEdit(OpId(SITE, 2 + 2 * i), updates_by_length[letters(i)][nth]),)


def _typed(length: int, edits: int) -> Iterator[bytes]:
    rng, rope = random.Random(length), TextRope(SITE, policy=ROPE_POLICY)
    rope.insert(0, " " * length)
    caret = 0
    for nth in range(edits):
        if nth % 20 == 0:
            caret = rng.randint(1, len(rope))
        if nth % 3 == 2:
            caret -= 1
            yield rope.delete(caret, 1)
        else:
            yield rope.insert(caret, rng.choice("etaoin shrdlu "))
            caret += 1


def letters(i: int) -> int:
    """Of the text of the block at one place."""
    return HEADING_CHARS if i % 20 == 0 else PARAGRAPH_CHARS


def envelopes(blocks: int) -> Iterator[tuple[Op, ...]]:
    """A document, each block with its text."""
    words = random.Random(1)
    yield (NewDocument(ROOT, "body"),)
    key, counter = None, 2
    for i in range(blocks):
        key = key_between(key, None, SITE)
        text = "".join(words.choices("etaoin shrdlu ", k=letters(i)))
        edit = TextEdit(OpId(SITE, counter), TextRope(SITE, policy=ROPE_POLICY).insert(0, text))
        type_ = "heading" if letters(i) == HEADING_CHARS else "paragraph"
        yield BlockInsert(document_id("body"), Slot.CHILD, key, type_), edit
        counter += 2


async def store_document(storage: Storage, room: str, written: Iterable[tuple[Op, ...]]) -> None:
    """Write a room with a log of these envelopes and a snapshot at its head."""
    await storage.create_room(room, START_MS)
    await storage.new_site(room, SITE, "ann", 2, bytes(32), START_MS)
    counter = 1
    batch: list[AppendRequest] = []
    for ops in written:
        encoded = tuple([(op_kind(op), encode_op(op)) for op in ops])
        batch.append(AppendRequest(room, SITE, 1, counter, counter - 1, (START_MS << 16) + counter, "ann", encoded))
        counter += len(ops)
        if len(batch) == BATCH:
            await storage.append(batch)
            batch = []
    await storage.append(batch)
    await Reader(storage).write_snapshot(room, counter - 1, START_MS)


# -- opening


class CountingLink:
    """A line that counts what comes."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.received_bytes = 0

    async def send(self, frame: bytes) -> None:
        """Pass a frame on."""
        await self._link.send(frame)

    async def receive(self) -> bytes:
        """The next frame."""
        frame = await self._link.receive()
        self.received_bytes += len(frame)
        return frame

    async def close(self) -> None:
        """Hang up."""
        await self._link.close()


class CountingConnector(WebSocketConnector):
    """Opens lines that count."""

    link: CountingLink

    async def open(self) -> Link:
        """A new line."""
        self.link = CountingLink(await super().open())
        return self.link


def _room(server: Server, name: str) -> tuple[AsyncRoom, CountingConnector]:
    limits = Limits()
    connector = CountingConnector(Servers([server.url], random.Random()), name, lambda: TOKEN, limits)
    replica = replica_for("script", limits, None, lazy=True)
    return AsyncRoom(name, replica, connector, limits, random.Random(), wall_clock_ms), connector


async def _open_warm(server: Server, name: str, size: int, runs: int) -> list[Opened]:
    holder, _ = _room(server, name)
    async with holder:
        await holder.join(60)
        return [await _open(server, name, size) for _ in range(runs)]


async def _open(server: Server, name: str, size: int) -> Opened:
    room, connector = _room(server, name)
    server_ms, client_ms, start_s = server_cpu_ms(server), time.process_time() * 1000, time.perf_counter()
    async with room:
        await room.join(60)
        doc: Any = room.doc("body")
        middle = max((size - SHOWN) // 2, 0)
        shown = doc[middle : middle + SHOWN]
        await doc.show(shown)
        texts = [block.text for block in shown]
        taken_ms = (time.perf_counter() - start_s) * 1000
        client_ms = time.process_time() * 1000 - client_ms
        assert len(texts) == min(SHOWN, size)
        assert all(len(text) >= 30 for text in texts)
        blocks: BlockDocument | None = room.replica.state.blocks
        known = 0 if blocks is None or blocks.known is None else len(blocks.known)
    return Opened(taken_ms, client_ms, server_cpu_ms(server) - server_ms, connector.link.received_bytes, known)


def server_cpu_ms(server: Server) -> float:
    """Processor time of the server's process so far, to 10 ms."""
    fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / TICKS_PER_S
