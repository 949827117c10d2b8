"""A thousand people and agents in one document, in a process of their own: ``... editors_load PLAN``, a JSON file.

They speak the protocol over real WebSockets and keep no replica, so that what is measured is the server. What they send
is encoded by hand for the same reason; tests/benchmarks/test_editors_load.py holds it against the codec. Each session
checks that ``through`` never goes back; one in ``SAMPLED`` reads all that it is sent, and tells when it saw each edit
and each cursor. Prints a ``LoadResult`` as JSON.
"""

from __future__ import annotations

import asyncio
import dataclasses
import heapq
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypedDict

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from collabkernel.wire import collab_pb2 as pb
from collabkernel.wire.codec import encode_client_message
from collabkernel.wire.messages import Hello, SessionKind
from collabkernel.wire.writer import field_bytes, field_varint, varint

SAMPLED = 25
"""One session in so many reads what it is sent."""
JOINING = 20
"""Sessions that join at once: a class that comes in, not a restart."""
FRAME_BYTES_MAX = 32 << 20
TYPED = ("the ", "of ", "and", "ing ", "to", "er ", "a ")
PROPERTY_SHARE = 0.1
"""Of people's edits are properties; the rest is typing."""
JUMP_SHARE = 0.1
SCROLL_BLOCKS = 10
VIEWPORT_BLOCKS = 50
CROWD = 0.5
"""Of the people are in the same tenth of the document."""
LAST_ACKS_S = 20.0
"""For the answers after the last edit."""


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What everybody does."""

    url: str
    token: str
    blocks: list[tuple[int, int, int]]
    """Site and counter of each block of the document, and how many clocks of that site's text it has."""
    people: int
    agents: int
    replicas: int
    duration_s: float
    warm_up_s: float
    edits_per_s: float = 1.5
    cursors_per_s: float = 3.0
    views_per_s: float = 1.0
    agent_ops_per_s: float = 20.0
    agent_batch: int = 10
    idle: int = 0
    """Sessions that look and do nothing."""
    seed: int = 1


class LoadResult(TypedDict):
    """What was measured after the warm-up, and all that was acknowledged."""

    ack_ms: list[float]
    visible_ms: list[float]
    """Of each edit that a sampled session was sent."""
    cursor_ms: list[float]
    sent_ops: int
    deliveries: int
    sent_frames: int
    elapsed_s: float
    frames_in: int
    bytes_in: int
    acked: list[tuple[int, int, int]]
    """Site, counter, seq; of all, the warm-up's too."""
    unanswered: int
    went_back: int
    """How often ``through`` did."""
    refused: dict[str, int]
    closed: int
    cpu_s: float
    streams: list[str]
    """A hash of the operations that each full replica was sent, by seq."""
    joined_s: float
    started_s: float
    """``time.monotonic`` when the warm-up was over, which all processes share."""


def sub_field(number: int, body: bytes) -> bytes:
    """A nested message."""
    return field_bytes(number, body)


def op_id(site: int, counter: int) -> bytes:
    """The body of an OpId."""
    return b"\x08" + varint(site) + b"\x10" + varint(counter)


def typed(client: int, clock: int, left: tuple[int, int], right: tuple[int, int], text: str) -> bytes:
    """A Yjs update (v1) that inserts ASCII text between two letters."""
    content = text.encode()
    origins = varint(left[0]) + varint(left[1]) + varint(right[0]) + varint(right[1])
    return b"\x01\x01" + varint(client) + varint(clock) + b"\xc4" + origins + varint(len(content)) + content + b"\x00"


def text_op(block: tuple[int, int], update: bytes) -> bytes:
    """An Op that edits the text of a block."""
    return b"\x08" + varint(block[0]) + b"\x10" + varint(block[1]) + field_bytes(9, field_bytes(1, update))


def property_op(block: tuple[int, int], value: int) -> bytes:
    """An Op that sets a property of a block."""
    body = field_bytes(1, b"done") + field_bytes(2, b"\x18" + varint(value << 1))
    return b"\x08" + varint(block[0]) + b"\x10" + varint(block[1]) + field_bytes(3, body)


def submit(counter: int, base: int, hlc: int, ops: list[bytes]) -> bytes:
    """A frame with one envelope."""
    head = b"\x08" + varint(counter) + field_varint(2, base) + b"\x19" + hlc.to_bytes(8, "little")
    return field_bytes(2, field_bytes(1, head + b"".join([field_bytes(4, op) for op in ops])))


def presence(block: tuple[int, int], state_json: str) -> bytes:
    """A frame with a cursor."""
    return field_bytes(3, field_bytes(1, state_json.encode()) + field_bytes(2, op_id(*block)))


def viewport(blocks: list[tuple[int, int, int]]) -> bytes:
    """A frame that names what is looked at."""
    return field_bytes(6, b"".join([field_bytes(1, op_id(site, counter)) for site, counter, _ in blocks]))


def fields(data: bytes, at: int = 0, end: int | None = None) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each length-prefixed field; of a varint its value, and -1. Others do not occur."""
    end = len(data) if end is None else end
    while at < end:
        tag = data[at]
        at += 1
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
        if tag & 7 == 2:
            yield tag >> 3, at, at + value
            at += value
        else:
            yield tag >> 3, value, -1


class Session(WSListener):  # type: ignore[misc]  # compiled
    """One socket."""

    def __init__(self, load: Load, index: int, *, sees: bool) -> None:
        super().__init__()
        self.load, self.index, self.rng = load, index, random.Random(load.plan.seed * 100_000 + index)
        self.is_sampled = sees and index % SAMPLED == 0
        self.site = 0
        self.counter = 1
        self.through = 0
        self.clock_by_block: dict[int, int] = {}
        self.sent_s: dict[int, float] = {}
        self.welcome = load.loop.create_future()
        self.top = 0
        self.block = 0
        self.cursors = 0
        self.transport: WSTransport
        self.stream: dict[int, int] | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.load.closed += not self.load.is_over
        if not self.welcome.done():
            self.welcome.set_exception(ConnectionError("the server hung up"))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != WSMsgType.BINARY:
            return
        load, data = self.load, frame.get_payload_as_bytes()
        load.frames_in += 1
        load.bytes_in += len(data)
        now_s = time.perf_counter()
        for number, start, end in fields(data):
            if number == 11:
                if start < self.through:
                    load.went_back += 1
                self.through = start
            elif number == 4:
                self._acked(data, start, end, now_s)
            elif number == 1:
                self.site = pb.Welcome.FromString(data[start:end]).site
                load.session_by_site[self.site] = self
                self.welcome.set_result(None)
            elif number in (5, 8, 10):
                load.refused(number, data[start:end])
            elif self.is_sampled and number in (3, 12):
                self._seen(data[start:end], now_s)
            elif self.is_sampled and number == 6:
                self._met(data[start:end], now_s)
            if self.stream is not None and number == 3:
                self._record(data[start:end])

    def _acked(self, data: bytes, start: int, end: int, now_s: float) -> None:
        counter = seq = 0
        for number, value, _ in fields(data, start, end):
            if number == 1:
                counter = value
            elif number == 2:
                seq = value
        sent_s = self.sent_s.get(counter, 0.0)
        load = self.load
        load.unanswered -= 1
        load.acked.append((self.site, counter, seq))
        if sent_s >= load.from_s:
            load.ack_ms.append((now_s - sent_s) * 1000)

    def _seen(self, ops: bytes, now_s: float) -> None:
        load = self.load
        for stored in pb.Ops.FromString(ops).envelopes:
            author = load.session_by_site.get(stored.site)
            if author is None or author is self:
                continue
            sent_s = author.sent_at(stored.envelope.counter)
            load.deliveries += len(stored.envelope.ops)
            if sent_s >= load.from_s:
                load.visible_ms.append((now_s - sent_s) * 1000)

    def sent_at(self, counter: int) -> float:
        """When the envelope with this operation was sent: a part of it may come, from any operation on."""
        return self.sent_s.get(counter, 0.0) or next(
            (
                self.sent_s[first]
                for first in range(counter, max(counter - self.load.plan.agent_batch, 0), -1)
                if first in self.sent_s
            ),
            0.0,
        )

    def _met(self, batch: bytes, now_s: float) -> None:
        load = self.load
        for site, state_json in load.cursors_of(pb.PresenceBatch.FromString(batch)):
            author = load.session_by_site.get(site)
            if author is not None and author is not self and state_json:
                sent_s = json.loads(state_json)["at_s"]
                if sent_s >= load.from_s:
                    load.cursor_ms.append((now_s - sent_s) * 1000)

    def _record(self, ops: bytes) -> None:
        assert self.stream is not None
        for stored in pb.Ops.FromString(ops).envelopes:
            self.stream[stored.seq] = hash((stored.site, stored.envelope.SerializeToString()))

    # -- what it does

    def send(self, frame: bytes) -> None:
        """Send one frame."""
        self.load.sent_frames += 1
        self.transport.send(WSMsgType.BINARY, frame)

    def look(self, top: int) -> None:
        """Scroll."""
        blocks = self.load.plan.blocks
        self.top = max(0, min(top, len(blocks) - VIEWPORT_BLOCKS))
        if not self.top <= self.block < self.top + VIEWPORT_BLOCKS:
            self.block = self.top + self.rng.randrange(VIEWPORT_BLOCKS)
        self.send(viewport(blocks[self.top : self.top + VIEWPORT_BLOCKS]))

    def submit(self, ops: list[bytes]) -> None:
        """Send an envelope."""
        load = self.load
        hlc = (time.time_ns() // 1_000_000) << 16 | self.index & 0xFFFF
        frame = submit(self.counter, self.through, hlc, ops)
        self.sent_s[self.counter] = time.perf_counter()
        self.counter += len(ops)
        load.sent_ops += len(ops)
        load.unanswered += 1
        self.send(frame)

    def type_in(self, block: int) -> bytes:
        """An operation that types a few letters in a block, behind those before."""
        site, counter, clocks = self.load.plan.blocks[block]
        clock = self.clock_by_block.get(block, 0)
        text = self.rng.choice(TYPED)
        at = (block * 7 + self.index) % (clocks - 1)
        left = (self.site, clock - 1) if clock else (site, at)
        self.clock_by_block[block] = clock + len(text)
        return text_op((site, counter), typed(self.site, clock, left, (site, at + 1), text))

    def set_property(self, block: int) -> bytes:
        """An operation that sets a property of a block."""
        site, counter, _ = self.load.plan.blocks[block]
        return property_op((site, counter), self.rng.randrange(1000))


class Load:
    """Everybody."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.loop = asyncio.get_running_loop()
        self.rng = random.Random(plan.seed)
        self.session_by_site: dict[int, Session] = {}
        self.ack_ms: list[float] = []
        self.visible_ms: list[float] = []
        self.cursor_ms: list[float] = []
        self.acked: list[tuple[int, int, int]] = []
        self.refusals: dict[str, int] = {}
        self.frames_in = self.bytes_in = self.sent_frames = self.sent_ops = self.unanswered = 0
        self.went_back = self.closed = self.deliveries = 0
        self.from_s = float("inf")
        self.is_over = False
        self.due: list[tuple[float, int, Callable[[], float]]] = []

    def refused(self, number: int, body: bytes) -> None:
        """Count what the server did not take, by its code."""
        kind = {5: pb.Reject, 8: pb.Notice, 10: pb.Bye}[number]
        code = kind.FromString(body).code
        self.refusals[code] = self.refusals.get(code, 0) + 1

    def cursors_of(self, batch: pb.PresenceBatch) -> Iterator[tuple[int, str]]:
        """Site and state of each cursor."""
        for each in (*batch.entries, *batch.moves):
            yield each.site, each.state_json

    async def join(self, index: int, *, sees: bool) -> Session:
        """Open one socket, with a viewport if it is nobody's full replica."""
        plan = self.plan
        headers = {"Authorization": f"token {plan.token}", "Sec-WebSocket-Protocol": "collabkernel.v1"}
        session: Session
        _, session = await ws_connect(
            lambda: Session(self, index, sees=sees),
            plan.url,
            extra_headers=headers,
            max_frame_size=FRAME_BYTES_MAX,
            websocket_handshake_timeout=30,
            read_buffer_init_size=4096,
        )
        if sees:
            session.look(self.place(session))
        else:
            session.stream = {}
        session.send(encode_client_message(Hello(SessionKind.SCRIPT, "benchmark", None)))
        await session.welcome
        return session

    def place(self, session: Session) -> int:
        """Where somebody jumps to."""
        blocks = len(self.plan.blocks)
        tenth = blocks // 10
        if session.index % 2 < 2 * CROWD - 1 + (session.index % 2 == 0):
            return 4 * tenth + session.rng.randrange(max(1, tenth - VIEWPORT_BLOCKS))
        return session.rng.randrange(max(1, blocks - VIEWPORT_BLOCKS))

    # -- what happens when

    def person(self, session: Session) -> None:
        """Plan what somebody does."""
        plan, rng = self.plan, session.rng

        def edit() -> float:
            make = session.set_property if rng.random() < PROPERTY_SHARE else session.type_in
            session.submit([make(session.block)])
            return 1 / plan.edits_per_s

        def move() -> float:
            session.cursors += 1
            site, counter, _ = plan.blocks[session.block]
            state = {"at_s": time.perf_counter(), "head": session.cursors, "is_typing": True}
            session.send(presence((site, counter), json.dumps(state)))
            return 1 / plan.cursors_per_s

        def scroll() -> float:
            session.look(
                self.place(session) if rng.random() < JUMP_SHARE else session.top + rng.choice((-1, 1)) * SCROLL_BLOCKS
            )
            return 1 / plan.views_per_s

        for do, rate in ((edit, plan.edits_per_s), (move, plan.cursors_per_s), (scroll, plan.views_per_s)):
            if rate:
                self.plan_at(rng.random() / rate, do)

    def agent(self, session: Session) -> None:
        """Plan what an agent does."""
        plan, rng = self.plan, session.rng

        def batch() -> float:
            at = session.top
            half = plan.agent_batch // 2
            chosen = [at + rng.randrange(VIEWPORT_BLOCKS) for _ in range(plan.agent_batch)]
            session.submit(
                [session.type_in(b) for b in chosen[half:]] + [session.set_property(b) for b in chosen[:half]]
            )
            return plan.agent_batch / plan.agent_ops_per_s

        self.plan_at(rng.random() * plan.agent_batch / plan.agent_ops_per_s, batch)

    def plan_at(self, after_s: float, do: Callable[[], float]) -> None:
        """Do something in so many seconds, and again when it says."""
        heapq.heappush(self.due, (after_s, len(self.due), do))

    async def run(self) -> LoadResult:
        """Join, work, wait for the last answers."""
        plan = self.plan
        joined_at_s = time.perf_counter()
        people = await self.join_all(range(plan.people), sees=True)
        agents = await self.join_all(range(plan.people, plan.people + plan.agents), sees=True)
        first = plan.people + plan.agents
        replicas = await self.join_all(range(first, first + plan.replicas), sees=False)
        await self.join_all(range(first + plan.replicas, first + plan.replicas + plan.idle), sees=True)
        joined_s = time.perf_counter() - joined_at_s
        print(f"joined in {joined_s:.1f} s", file=sys.stderr, flush=True)
        for session in people:
            self.person(session)
        for session in agents:
            self.agent(session)
        await asyncio.sleep(2.0)
        start_s = time.perf_counter()
        heap = [(start_s + after_s, nth, do) for after_s, nth, do in self.due]
        heapq.heapify(heap)
        self.from_s = start_s + plan.warm_up_s
        end_s = self.from_s + plan.duration_s
        counted: dict[str, float] = {}
        while heap and (now_s := time.perf_counter()) < end_s:
            if not counted and now_s >= self.from_s:
                print("working", file=sys.stderr, flush=True)
                counted = {
                    "ops": self.sent_ops,
                    "frames": self.sent_frames,
                    "in": self.frames_in,
                    "bytes": self.bytes_in,
                    "cpu": time.process_time(),
                    "mono": time.monotonic(),
                    "deliveries": self.deliveries,
                }
            done = 0
            while heap[0][0] <= now_s and done < 200:
                due_s, nth, do = heap[0]
                heapq.heapreplace(heap, (due_s + do(), nth, do))
                done += 1
            await asyncio.sleep(0.002 if heap[0][0] > now_s else 0)
        print("worked", file=sys.stderr, flush=True)
        elapsed_s = time.perf_counter() - self.from_s
        figures = {
            "sent_ops": int(self.sent_ops - counted["ops"]),
            "sent_frames": int(self.sent_frames - counted["frames"]),
            "frames_in": int(self.frames_in - counted["in"]),
            "bytes_in": int(self.bytes_in - counted["bytes"]),
            "deliveries": int(self.deliveries - counted["deliveries"]),
            "cpu_s": time.process_time() - counted["cpu"],
        }
        until_s = time.perf_counter() + LAST_ACKS_S
        while self.unanswered and time.perf_counter() < until_s:
            await asyncio.sleep(0.05)
        await asyncio.sleep(1.0)
        self.is_over = True
        for session in self.session_by_site.values():
            session.transport.disconnect()
        return LoadResult(  # type: ignore[typeddict-item]
            ack_ms=self.ack_ms,
            visible_ms=self.visible_ms,
            cursor_ms=self.cursor_ms,
            elapsed_s=elapsed_s,
            acked=self.acked,
            unanswered=self.unanswered,
            went_back=self.went_back,
            refused=self.refusals,
            closed=self.closed,
            streams=[str(hash(tuple(sorted((s.stream or {}).items())))) for s in replicas],
            joined_s=joined_s,
            started_s=counted["mono"],
            **figures,
        )

    async def join_all(self, indexes: range, *, sees: bool) -> list[Session]:
        """Join some, a few at a time."""
        gate = asyncio.Semaphore(JOINING)

        async def one(index: int) -> Session:
            async with gate:
                return await self.join(index, sees=sees)

        return list(await asyncio.gather(*[one(index) for index in indexes]))


async def main(path: str) -> LoadResult:
    """Run a plan."""
    return await Load(Plan(**json.loads(Path(path).read_text()))).run()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1]))))
