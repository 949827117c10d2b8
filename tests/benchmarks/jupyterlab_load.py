"""Readers and writers of JupyterLab documents, in a process of their own that reads a ``Plan`` as JSON.

They speak the y-protocol over WebSockets as the stock front end does: sync, an awareness state renewed every 15 s. They
keep no replicas, so that what is measured is the server: an edit is a mark that its writer types after its last, and
it is visible to a reader when a frame that holds the mark has come. Prints a ``LoadResult`` as JSON.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random
import re
import sys
import threading
import time
from array import array
from pathlib import Path
from typing import TypedDict

import psutil

from tests.peers import y_protocol as y
from tests.peers.y_socket import YSocket, open_socket

MARK = re.compile(rb"<(\d+):(\d+)>")
RENEWAL_S = 15.0
SAMPLE_S = 0.02
SAMPLES_A_FAMILY = 100
"""Samples of memory until the server's children are looked for again."""
JOINS_AT_ONCE = 25
MARKS_CACHED_MAX = 20_000


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """Who joins what, and what each does."""

    urls: list[str]
    """One a client; the first ``writers`` of them write."""
    headers: dict[str, str]
    server_pid: int
    writers: int = 0
    edits_per_s: float = 0.0
    """Of each writer."""
    duration_s: float = 10.0
    join_bytes: int = 0
    """When not 0: the clients join at once, and a client is in when it was sent a state of at least this size."""
    push: str = ""
    """When not empty: a file with an update that is pushed into the room before anybody joins."""
    shows_awareness: bool = True
    """As all pages do; each state, and each renewal of it, goes to all others."""
    bound_s: float = 120.0
    """The whole run ends by then, done or not."""
    seed: int = 1


class LoadResult(TypedDict):
    """What was measured from the first edit to the last one that was seen."""

    unfinished: str
    """How far it had come when its time was up; empty when all was done."""
    visible_ms: list[float]
    """Percentiles 0, 1 to 100 of edit to visible, over edits and readers."""
    delivered: int
    """Edits times the readers that saw them."""
    expected: int
    gaps: int
    """Edits that a reader never saw though a later one of the same writer came."""
    cpu_s: float
    generator_cpu_s: float
    """What these clients took of the processor in the same time: near ``elapsed_s``, they are what is measured."""
    elapsed_s: float
    memory_bytes: int
    """The most that the server held in the whole run, above what it held before anybody came."""
    join_ms: list[float]
    frames_in: int


class Meter:
    """CPU time and the highest memory of a process and its children."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._done = threading.Event()
        self._family = self._found()
        self.idle_bytes = self._bytes()
        self.most_bytes = self.idle_bytes
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def cpu_s(self) -> float:
        """User and system time so far."""
        return sum(sum(each.cpu_times()[:2]) for each in self._found())

    def stop(self) -> None:
        """End the sampling."""
        self._done.set()
        self._thread.join()

    def _found(self) -> list[psutil.Process]:
        return [self._process, *self._process.children(recursive=True)]

    def _bytes(self) -> int:
        return sum(each.memory_info().rss for each in self._family)

    def _sample(self) -> None:
        count = 0
        while not self._done.wait(SAMPLE_S):
            count += 1
            # To look for children reads all of /proc, milliseconds in which the clients of this process wait.
            if count % SAMPLES_A_FAMILY == 0:
                self._family = self._found()
            self.most_bytes = max(self.most_bytes, self._bytes())


class _Moment:
    """A moment, and what had been used until then."""

    def __init__(self, meter: Meter) -> None:
        self.cpu_s = meter.cpu_s()
        self.generator_cpu_s = time.process_time()
        self.at_s = time.perf_counter()


class Load:
    """All clients of a plan, and what they saw."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.rng = random.Random(plan.seed)
        self.sent_at_s: dict[tuple[int, int], float] = {}
        self.visible_ms = array("d")
        self.delivered = 0
        self.gaps = 0
        self.clients = [Client(self, index) for index in range(len(plan.urls))]
        self._marks: dict[bytes, list[tuple[int, int]]] = {}
        self._wanted = 0
        self._is_reached = asyncio.Event()
        self._doing = "opening the document"

    def marks(self, frame: bytes) -> list[tuple[int, int]]:
        """(writer, number) of every edit in a frame; equal frames go to all readers, and are read once."""
        found = self._marks.get(frame)
        if found is None:
            if len(self._marks) >= MARKS_CACHED_MAX:
                self._marks.clear()
            found = self._marks[frame] = [(int(writer), int(number)) for writer, number in MARK.findall(frame)]
        return found

    async def run(self) -> LoadResult:
        """Join, measure, leave; all of it within the plan's bound."""
        meter = Meter(self.plan.server_pid)
        began = _Moment(meter)
        try:
            async with asyncio.timeout(self.plan.bound_s):
                began = await self._measured(meter)
        except TimeoutError:
            unfinished = self._how_far()
        else:
            unfinished = ""
        result = self._result(meter, began, unfinished)
        meter.stop()
        for client in self.clients:
            client.leave()
        return result

    async def _measured(self, meter: Meter) -> _Moment:
        plan = self.plan
        if plan.push:
            await self._push()
        # One who is there before all: the server has the document open; pycrdt-websocket cannot open it twice at once.
        await self.clients[0].join()
        self._doing = "joining"
        if plan.join_bytes:
            began = _Moment(meter)
            await asyncio.gather(*[client.join() for client in self.clients[1:]])
            return began
        await self._join_by_and_by()
        began = _Moment(meter)
        await self._edit()
        return began

    def _how_far(self) -> str:
        joined = sum(client.is_synced for client in self.clients)
        seen = f"{self.delivered} of {self._expected()} edits were delivered"
        return f"{self._doing}: {joined} of {len(self.clients)} clients had joined, {seen}"

    async def _push(self) -> None:
        update = await asyncio.to_thread(Path(self.plan.push).read_bytes)
        is_taken_in = asyncio.Event()

        def on_frame(socket: YSocket, _: bytes) -> None:
            # Its own echo comes when the server has taken it in.
            if socket.bytes_in >= len(update):
                is_taken_in.set()

        pusher = await open_socket(self.plan.urls[0], self.plan.headers, on_frame)
        pusher.send(y.sync_frame(y.UPDATE, update))
        await is_taken_in.wait()
        pusher.abort()

    async def _join_by_and_by(self) -> None:
        turn = asyncio.Semaphore(JOINS_AT_ONCE)

        async def join(client: Client) -> None:
            async with turn:
                await client.join()

        await asyncio.gather(*[join(client) for client in self.clients[1:]])
        # An edit of each writer that all have seen stands behind everything that the joins brought about.
        self._doing = "settling"
        writers = self.clients[: self.plan.writers]
        for writer in writers:
            writer.edit()
        await self.wait_until_seen(len(writers) * len(self.clients))
        self.visible_ms = array("d")
        self.delivered = 0

    async def _edit(self) -> None:
        plan = self.plan
        if not plan.writers:
            await asyncio.sleep(plan.duration_s)
            return
        self._doing = "editing"
        await asyncio.gather(*[self._type(client) for client in self.clients[: plan.writers]])
        self._doing = "delivering"
        await self.wait_until_seen(self._expected())

    async def wait_until_seen(self, count: int) -> None:
        """Wait until so many edits were delivered, or will never be."""
        self._wanted = count
        self._is_reached.clear()
        if self.delivered + self.gaps < count:
            await self._is_reached.wait()

    def on_seen(self, mark: tuple[int, int], gap: int) -> None:
        """A reader has seen an edit, and not the ``gap`` edits before it."""
        self.visible_ms.append((time.perf_counter() - self.sent_at_s[mark]) * 1000)
        self.delivered += 1
        self.gaps += gap
        if self.delivered + self.gaps >= self._wanted:
            self._is_reached.set()

    def _expected(self) -> int:
        return sum(client.number for client in self.clients[: self.plan.writers]) * len(self.clients)

    async def _type(self, client: Client) -> None:
        pause_s = 1 / self.plan.edits_per_s
        due_s = time.perf_counter() + self.rng.random() * pause_s
        for _ in range(round(self.plan.duration_s * self.plan.edits_per_s)):
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            client.edit()
            due_s += pause_s

    def _result(self, meter: Meter, began: _Moment, unfinished: str) -> LoadResult:
        now = _Moment(meter)
        ordered = sorted(self.visible_ms)
        return LoadResult(
            unfinished=unfinished,
            visible_ms=[ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] for percent in range(101)]
            if ordered
            else [],
            delivered=self.delivered,
            expected=self._expected(),
            gaps=self.gaps,
            cpu_s=now.cpu_s - began.cpu_s,
            generator_cpu_s=now.generator_cpu_s - began.generator_cpu_s,
            elapsed_s=now.at_s - began.at_s,
            memory_bytes=meter.most_bytes - meter.idle_bytes,
            join_ms=[client.join_ms for client in self.clients[1:]],
            frames_in=sum(client.socket.frames_in for client in self.clients if client.socket),
        )


class Client:
    """One socket in one room."""

    def __init__(self, load: Load, index: int) -> None:
        self._load = load
        self.index = index
        self.number = 0
        """Of its last edit; the one before the measuring is 0."""
        self.seen: dict[int, int] = {}
        """Writer to the number of its last edit that came."""
        self.join_ms = 0.0
        self.socket: YSocket | None = None
        self._client_id = 1_000_000 + index
        self._clock = 0
        self._awareness_clock = 0
        self._is_synced = asyncio.Event()
        self._renewal: asyncio.TimerHandle | None = None

    @property
    def is_synced(self) -> bool:
        """Whether it was sent the document."""
        return self._is_synced.is_set()

    async def join(self) -> None:
        """Connect and sync."""
        plan, start_s = self._load.plan, time.perf_counter()
        self.socket = await open_socket(plan.urls[self.index], plan.headers, self._on_frame)
        self.socket.send(y.sync_frame(y.STEP1, b"\0"))
        if plan.shows_awareness:
            self._announce(self._load.rng.random() * RENEWAL_S)
        await self._is_synced.wait()
        self.join_ms = (time.perf_counter() - start_s) * 1000

    def edit(self) -> None:
        """Type the next mark; the first, number 0, is the one that settles."""
        assert self.socket is not None
        if self._clock:
            self.number += 1
        mark = f"<{self.index}:{self.number}>"
        update = y.append_update(self._client_id, self._clock, mark)
        self._clock += len(mark)
        self._load.sent_at_s[self.index, self.number] = time.perf_counter()
        self.socket.send(y.sync_frame(y.UPDATE, update))

    def leave(self) -> None:
        """Cut the line."""
        if self._renewal is not None:
            self._renewal.cancel()
        if self.socket is not None:
            self.socket.abort()

    def _announce(self, again_in_s: float) -> None:
        assert self.socket is not None
        self._awareness_clock += 1
        name = f"client {self.index}"
        state = {"user": {"name": name, "display_name": name, "color": "#aabbcc"}, "autosave": True}
        self.socket.send(y.awareness_frame(self._client_id, self._awareness_clock, state))
        self._renewal = asyncio.get_running_loop().call_later(again_in_s, self._announce, RENEWAL_S)

    def _on_frame(self, socket: YSocket, frame: bytes) -> None:
        if frame[0] != y.SYNC:
            return
        if frame[1] == y.STEP1:
            socket.send(y.sync_frame(y.STEP2, y.EMPTY_UPDATE))
            return
        if frame[1] == y.STEP2 and len(frame) >= self._load.plan.join_bytes:
            self._is_synced.set()
        for mark in self._load.marks(frame):
            writer, number = mark
            before = self.seen.get(writer, -1)
            if number > before:
                self.seen[writer] = number
                self._load.on_seen(mark, number - before - 1)


async def main(plan: Plan) -> None:
    print(json.dumps(await Load(plan).run()))


if __name__ == "__main__":
    asyncio.run(main(Plan(**json.load(sys.stdin))))
