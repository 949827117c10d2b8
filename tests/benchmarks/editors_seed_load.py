"""A thousand people and agents in one document, in a process of their own: ``... editors_seed_load PLAN``, a JSON file.

They speak the protocol over real WebSockets and keep no replica, so that what is measured is the server. What they send
is encoded by hand for the same reason (``editors_seed_frames``). Each session
checks that ``through`` never goes back; one in ``SAMPLED`` reads all that it is sent, and tells when it saw each edit
and each cursor. Prints a ``LoadResult`` as JSON.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import hashlib
import heapq
import json
import random
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypedDict

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from collabkernel.wire import collab_pb2 as pb
from collabkernel.wire.codec import encode_client_message
from collabkernel.wire.messages import Hello, SessionKind
from tests.benchmarks import editors_seed_frames as frames

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
AT_ONCE = 200
"""What is sent before the loop has another turn ..."""
UNREAD_MAX = 200_000
"""Frames that are read when the work is over, so that reading them keeps no other frame from being timed: a thousand
editors fill a third of it a minute, some 300 MB. What is over it is read at once."""
LEAVING_S = 0.2
"""For the closes to go out."""
SETTLE_S = 2.0
"""After the joins."""
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
    active: int = 0
    """So many of the people do something at a time, one after the other until each has; 0: all do."""
    crowd: float = CROWD
    seed: int = 1


class LoadResult(TypedDict):
    """What was measured after the warm-up, and all that was acknowledged."""

    ack_ms: list[float]
    """Of people's edits ..."""
    batch_ack_ms: list[float]
    """... and of agents' batches, which wait where the server is busy."""
    visible_ms: list[float]
    """Of each edit that a sampled session was sent."""
    cursor_ms: list[float]
    acked: list[tuple[int, int, int]]
    """Site, counter, seq; of all, the warm-up's too."""
    unanswered: int
    went_back: int
    """How often ``through`` did."""
    refused: dict[str, int]
    """By code."""
    closed: int
    """Sockets that the server has closed."""
    streams: list[list[tuple[int, str]]]
    """What each full replica was sent: seq, and a hash of the envelope there."""
    joined_s: float
    counted: dict[str, float]
    """What was done after the warm-up; see ``Load.counters``."""


class Session(WSListener):  # type: ignore[misc]  # compiled
    """One socket."""

    def __init__(self, load: Load, index: int, *, sees: bool) -> None:
        super().__init__()
        self.load, self.index, self.rng = load, index, random.Random(load.plan.seed * 100_000 + index)
        self.is_agent = load.plan.people <= index < load.plan.people + load.plan.agents
        self.is_sampled = sees and index % SAMPLED == 0
        self.site = 0
        self.counter = 1
        self.through = 0
        self.clock_by_block: dict[int, int] = {}
        self.sent_s: dict[int, float] = {}
        self.unacked: dict[int, bytes] = {}
        self.welcome = load.loop.create_future()
        self.top = 0
        self.block = 0
        self.cursors = 0
        self.transport: WSTransport
        self.stream: dict[int, str] | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002  # picows' signature
        self.load.closed += not self.load.is_over
        if not self.welcome.done():
            self.welcome.set_exception(ConnectionError("the server hung up"))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:  # noqa: ARG002  # picows' signature
        if frame.msg_type != WSMsgType.BINARY:
            return
        load, data = self.load, frame.get_payload_as_bytes()
        load.frames_in += 1
        load.bytes_in += len(data)
        now_s = time.perf_counter()
        for number, start, end in frames.fields(data):
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
            elif number == 5:
                self._refused(pb.Reject.FromString(data[start:end]))
            elif number in (8, 10):
                load.refused((pb.Notice if number == 8 else pb.Bye).FromString(data[start:end]).code)
            elif self.is_sampled and number in (3, 12):
                load.unread.append(partial(self._seen, data[start:end], now_s))
            elif self.is_sampled and number == 6:
                load.unread.append(partial(self._met, data[start:end], now_s))
            if self.stream is not None and number == 3:
                load.unread.append(partial(self._record, data[start:end]))

    def _acked(self, data: bytes, start: int, end: int, now_s: float) -> None:
        counter = seq = 0
        for number, value, _ in frames.fields(data, start, end):
            if number == 1:
                counter = value
            elif number == 2:
                seq = value
        sent_s = self.sent_s.get(counter, 0.0)
        load = self.load
        if self.unacked.pop(counter, None) is None:
            return
        load.unanswered -= 1
        load.acked.append((self.site, counter, seq))
        if sent_s >= load.from_s:
            (load.batch_ack_ms if self.is_agent else load.ack_ms).append((now_s - sent_s) * 1000)

    def _refused(self, reject: pb.Reject) -> None:
        """Send again from there when the server wants it, as the SDK does."""
        self.load.refused(reject.code)
        if not reject.final:
            self.load.loop.call_later(reject.retry_after_ms / 1000, self._resend, reject.counter)

    def _resend(self, counter: int) -> None:
        if not self.load.is_over:
            for first in sorted(first for first in self.unacked if first >= counter):
                self.send(self.unacked[first])

    def _seen(self, ops: bytes, now_s: float) -> None:
        load = self.load
        for stored in pb.Ops.FromString(ops).envelopes:
            author = load.session_by_site.get(stored.site)
            if author is None or author is self:
                continue
            sent_s = author.sent_at(stored.envelope.counter)
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
            told = f"{stored.site} ".encode() + stored.envelope.SerializeToString()
            self.stream[stored.seq] = hashlib.sha256(told).hexdigest()[:16]

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
        self.send(frames.viewport(blocks[self.top : self.top + VIEWPORT_BLOCKS]))

    def submit(self, ops: list[bytes]) -> None:
        """Send an envelope."""
        load = self.load
        hlc = (time.time_ns() // 1_000_000) << 16 | self.index & 0xFFFF
        frame = frames.submit(self.counter, self.through, hlc, ops)
        self.sent_s[self.counter] = time.perf_counter()
        self.counter += len(ops)
        load.sent_ops += len(ops)
        load.unanswered += 1
        self.unacked[self.counter - len(ops)] = frame
        self.send(frame)

    def type_in(self, block: int) -> bytes:
        """An operation that types a few letters in a block, behind those before."""
        site, counter, clocks = self.load.plan.blocks[block]
        clock = self.clock_by_block.get(block, 0)
        text = self.rng.choice(TYPED)
        at = (block * 7 + self.index) % (clocks - 1)
        left = (self.site, clock - 1) if clock else (site, at)
        self.clock_by_block[block] = clock + len(text)
        return frames.text_op((site, counter), frames.typed(self.site, clock, left, (site, at + 1), text))

    def set_property(self, block: int) -> bytes:
        """An operation that sets a property of a block."""
        site, counter, _ = self.load.plan.blocks[block]
        return frames.property_op((site, counter), self.rng.randrange(1000))


class Load:
    """Everybody."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.loop = asyncio.get_running_loop()
        self.rng = random.Random(plan.seed)
        self.session_by_site: dict[int, Session] = {}
        self.ack_ms: list[float] = []
        self.batch_ack_ms: list[float] = []
        self.visible_ms: list[float] = []
        self.cursor_ms: list[float] = []
        self.acked: list[tuple[int, int, int]] = []
        self.refusals: dict[str, int] = {}
        self.frames_in = self.bytes_in = self.sent_frames = self.sent_ops = self.unanswered = 0
        self.went_back = self.closed = self.frames_read = 0
        self.from_s = float("inf")
        """What is sent from then on is counted."""
        self.is_over = False
        self.unread: deque[Callable[[], None]] = deque()
        """Sampled frames, which are timed and not read yet."""
        self.due: list[tuple[float, int, Callable[[], float]]] = []

    def refused(self, code: str) -> None:
        """Count what the server did not take."""
        self.refusals[code] = self.refusals.get(code, 0) + 1

    def cursors_of(self, batch: pb.PresenceBatch) -> Iterator[tuple[int, str]]:
        """Site and state of each cursor."""
        for each in (*batch.entries, *batch.moves):
            yield each.site, each.state_json

    async def join(self, index: int, kind: SessionKind) -> Session:
        """Open one socket, with a viewport unless it is a full replica, which calls itself a script."""
        plan = self.plan
        headers = {"Authorization": f"token {plan.token}", "Sec-WebSocket-Protocol": "collabkernel.v1"}
        session: Session
        _, session = await ws_connect(
            lambda: Session(self, index, sees=kind is not SessionKind.SCRIPT),
            plan.url,
            extra_headers=headers,
            max_frame_size=FRAME_BYTES_MAX,
            websocket_handshake_timeout=30,
            read_buffer_init_size=4096,
        )
        if kind is not SessionKind.SCRIPT:
            session.look(self.place(session))
        else:
            session.stream = {}
        session.send(encode_client_message(Hello(kind, "benchmark", None)))
        await session.welcome
        return session

    def place(self, session: Session) -> int:
        """Where somebody jumps to."""
        blocks = len(self.plan.blocks)
        tenth = blocks // 10
        if session.index % 100 < 100 * self.plan.crowd:
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
            session.send(frames.presence((site, counter), json.dumps(state)))
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
        joining_s = time.perf_counter()
        first_agent, first_replica = plan.people, plan.people + plan.agents
        people = await self.join_all(range(first_agent), SessionKind.PERSON)
        agents = await self.join_all(range(first_agent, first_replica), SessionKind.AGENT)
        replicas = await self.join_all(range(first_replica, first_replica + plan.replicas), SessionKind.SCRIPT)
        joined_s = time.perf_counter() - joining_s
        say(f"joined in {joined_s:.1f} s")
        await asyncio.sleep(SETTLE_S)
        active = plan.active or plan.people
        turns = [people[start : start + active] for start in range(0, plan.people, active)]
        before: dict[str, float] = {}
        for turn in turns:
            self.due = []
            for session in turn:
                self.person(session)
            for session in agents:
                self.agent(session)
            begun, after = await self.work(plan.duration_s / len(turns))
            before = before or begun
        say("worked")
        await self.answered()
        for session in self.session_by_site.values():
            session.transport.disconnect()
        await asyncio.sleep(LEAVING_S)
        self.read()
        return LoadResult(
            ack_ms=self.ack_ms,
            batch_ack_ms=self.batch_ack_ms,
            visible_ms=self.visible_ms,
            cursor_ms=self.cursor_ms,
            acked=self.acked,
            unanswered=self.unanswered,
            went_back=self.went_back,
            refused=self.refusals,
            closed=self.closed,
            streams=[[(seq, digest) for seq, digest in sorted((s.stream or {}).items())] for s in replicas],
            joined_s=joined_s,
            counted={name: after[name] - before[name] for name in after},
        )

    async def work(self, duration_s: float) -> tuple[dict[str, float], dict[str, float]]:
        """Do what is planned, first for the warm-up; the counters at both ends of what is counted."""
        start_s = time.perf_counter()
        self.from_s = min(self.from_s, start_s + self.plan.warm_up_s)
        end_s = max(self.from_s, start_s) + duration_s
        heap = [(start_s + after_s, nth, do) for after_s, nth, do in self.due]
        heapq.heapify(heap)
        before: dict[str, float] = {}
        while (now_s := time.perf_counter()) < end_s:
            if not before and now_s >= self.from_s:
                before = self.counters()
                say("working")
            for _ in range(AT_ONCE):
                if not heap or heap[0][0] > now_s:
                    break
                due_s, nth, do = heap[0]
                heapq.heapreplace(heap, (due_s + do(), nth, do))
            self.read(UNREAD_MAX)
            await asyncio.sleep(0.002 if not heap or heap[0][0] > now_s else 0)
        return before, self.counters()

    def read(self, left: int = 0) -> None:
        """Read frames that wait for it, until so many are left."""
        while len(self.unread) > left:
            self.unread.popleft()()
            self.frames_read += 1

    def counters(self) -> dict[str, float]:
        """What was done until now."""
        return {
            "ops_sent": self.sent_ops,
            "frames_sent": self.sent_frames,
            "frames": self.frames_in,
            "frames_read": self.frames_read,
            "bytes": self.bytes_in,
            "cpu_s": time.process_time(),
            "s": time.perf_counter(),
        }

    async def answered(self) -> None:
        """Wait for the last answers."""
        until_s = time.perf_counter() + LAST_ACKS_S
        while self.unanswered and time.perf_counter() < until_s:  # noqa: ASYNC110  # the acks have no event
            await asyncio.sleep(0.05)
        await asyncio.sleep(1.0)  # and for what the others are sent of it
        self.is_over = True

    async def join_all(self, indexes: range, kind: SessionKind) -> list[Session]:
        """Join some, a few at a time."""
        gate = asyncio.Semaphore(JOINING)

        async def one(index: int) -> Session:
            async with gate:
                return await self.join(index, kind)

        return list(await asyncio.gather(*[one(index) for index in indexes]))


def say(what: str) -> None:
    """Tell the benchmark how far this is: it looks at the server then."""
    print(what, file=sys.stderr, flush=True)


async def main(plan: Plan) -> LoadResult:
    """Run a plan."""
    return await Load(plan).run()


if __name__ == "__main__":
    gc.disable()  # it makes no cycles, and a look for them takes as long as an acknowledgement
    print(json.dumps(asyncio.run(main(Plan(**json.loads(Path(sys.argv[1]).read_text()))))))
