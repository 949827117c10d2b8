"""Servers on one database and one bus, and clients that edit at them, in one process and from one seed."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from collabkernel.client.async_room import AsyncRoom
from collabkernel.client.replica import Replica
from collabkernel.client.servers import Servers
from collabkernel.crdt.ids import Stamp
from collabkernel.document.operations import Envelope
from collabkernel.document.purge_plan import Then, plan_purges
from collabkernel.errors import (
    ClosedError,
    CollabKernelError,
    DetachedError,
    DiscardedError,
    InvalidValueError,
    PurgedError,
)
from collabkernel.limits import HLC_MAX, SITE_MAX, Limits
from collabkernel.room.session import Principal
from collabkernel.server.hub import Hub
from collabkernel.server.reader import Reader
from collabkernel.server.transport import Transport
from collabkernel.storage.base import OpRow
from collabkernel.wire.codec import decode_client_message, decode_server_message
from collabkernel.wire.messages import Role, ServerMessage, SessionKind, Submit
from collabkernel.wire.ops import encode_op
from collabkernel.wire.writer import field_bytes
from tests.simulation.chronicle import Chronicle
from tests.simulation.database import Database, DatabaseConnection
from tests.simulation.ledger import Ledger, Typed
from tests.simulation.lines import Connector, Line, Session
from tests.simulation.loop import Process, SimulatedLoop
from tests.simulation.random_world import BLOCKS, Author
from tests.simulation.raw_site import RawSite
from tests.simulation.wires import WiredBus, Wires

ROOM = "board"
MANY = 10**9
LIMITS = replace(
    Limits(),
    snapshot_cpu_percent=100,  # it rests for what the processor took, which is never the same
    ops_per_s=MANY,
    ops_burst=MANY,
    frames_per_s=MANY,
    joins_burst=MANY,
    resyncs_per_minute=MANY,
    snapshot_ops=30,
    snapshot_min_interval_ms=500,
    ring_bytes=4000,
    catch_up_ops=40,
    session_queue_bytes=20_000,
    session_queue_low_bytes=5_000,
    lagging_max_ms=10_000,
    storage_slow_ms=1000,
    storage_retry_max_ms=1000,
    keeper_lease_ms=2000,
    merged_kept_ms=1000,
    room_idle_ms=2000,
    reconnect_max_ms=2000,
)
"""Nobody is refused for what he makes, and all that takes minutes elsewhere happens within seconds."""
SKEW_S = 30.0
HEAL_S = 300.0
"""After the last fault, until all must agree."""
FIRST_S = 5.0
"""After at most so long a raw client makes its first edit."""
REST_S = 3.0
"""Without anything new in the log: keepers too have nothing left to do."""
FRAMES_READ = 1000
"""Frames that are on their way to many."""
FINE_BYES = frozenset({
    "server-stopping", "server-draining", "room-reset", "storage-error", "superseded", "idle", "slow-consumer",
    "degraded", "fenced", "hello-timeout", "purged",
})  # fmt: skip


class Size(NamedTuple):
    """Of a cluster."""

    servers: int = 3
    sites: int = 3
    raw_sites: int = 1
    think_s: float = 0.3
    """Between two edits of a client."""
    purges: float = 0
    """How often what is deleted is purged, among other troubles."""
    blocks: int = BLOCKS
    """About as many as there are in the document."""
    ops: int = 80
    """Made in a history, about."""


class Server:
    """One after the other of its name: each start is a new process, on a clock of its own."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.name = name
        self._cluster = cluster
        self._loop = cluster.loop
        self.hub: Hub | None = None
        self.lines: list[Line] = []
        self.start()

    def start(self) -> None:
        """Begin anew."""
        cluster = self._cluster
        self.process = Process(self._loop, self.name)
        self.skew_s = cluster.rng.uniform(-SKEW_S, SKEW_S)
        self.database = DatabaseConnection(cluster.database, self.process)
        self.bus = WiredBus(cluster.wires, self.database, self.process)
        self.is_serving = False
        self.process.spawn(self._run())

    def now_ms(self) -> int:
        """Its clock."""
        return int((self._loop.time() + self.skew_s) * 1000)

    async def _run(self) -> None:
        hub = Hub(self.database, self._cluster.limits, bus=self.bus, now_ms=self.now_ms)
        try:
            await hub.start()
        except CollabKernelError:
            self._loop.call_later(1, self.start, context=self._loop.world)
            return
        self.hub, self.is_serving = hub, True

    def is_settled(self, head: int) -> bool:
        """Whether it serves, and its room has the whole log: of what nobody there is shown, the next poll tells it."""
        runner = self.hub._live_runner(ROOM) if self.hub is not None else None
        return self.is_serving and (runner is None or runner.head == head)

    def crash(self) -> None:
        """Lose all that is in memory, and say nothing to anybody."""
        self.process.crash()
        self.bus.hang_up()
        self._come_down()

    def stop(self) -> None:
        """End as an operator has it, and start again."""
        if self.is_serving and self.hub is not None:
            self.is_serving = False
            self.process.spawn(self._stop(self.hub))

    async def _stop(self, hub: Hub) -> None:
        process = self.process
        await hub.stop()
        if not process.is_dead:
            self._come_down()

    def drain(self) -> None:
        """Send everybody away, then stop."""
        if self.is_serving and self.hub is not None:
            self.hub.drain(1000)
            self._loop.call_later(2, self.stop, context=self.process.context)

    def purge(self) -> None:
        """Have the room's keeper let go of all that is deleted in it."""
        if self.is_serving and self.hub is not None:
            self.process.spawn(self._purge(self.hub))

    async def _purge(self, hub: Hub) -> None:
        with suppress(CollabKernelError):  # the database may be away; a room that is not made yet has nothing
            fold, _ = await Reader(self.database).load(ROOM)
            ops = plan_purges(fold.state, Then(fold.state, fold.seq, Stamp(HLC_MAX, SITE_MAX)), least=1)
            if ops and self.is_serving:
                hub.ask_purge(ROOM, tuple(ops), fold.seq)

    def _come_down(self) -> None:
        self.is_serving, self.hub = False, None
        lines, self.lines = self.lines, []
        for line in lines:
            line.cut()
        self._loop.call_later(self._cluster.rng.expovariate(1), self.start, context=self._loop.world)

    async def enter(self, actor: str, transport: Transport) -> Session:
        """Open a session."""
        hub = self.hub
        if hub is None:
            raise ClosedError("it has stopped")
        return await hub.open_session(ROOM, Principal(actor, actor, "", Role.WRITER), transport)

    def sends(self, line: Line, frame: bytes) -> None:
        """What is shown and acknowledged is in the log."""
        try:
            self._cluster.check_shown(line, frame)
        except AssertionError as error:  # the server would call its room failed, and go on
            self._loop.fail(error)


class _SiteRoom(AsyncRoom):
    """A room of the SDK that tells what it makes."""

    on_made: Callable[[bytes], None]

    def _on_committed(self, payload: bytes) -> None:
        self.on_made(payload)
        super()._on_committed(payload)


class Site:
    """A client with all that a script has, but for the socket and the clock; also what ``Author`` edits with."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.name = name
        self.cluster = cluster
        self.rng = cluster.rng
        self.ledger = cluster.ledger
        self.typed = Typed("", "")
        self.sites: set[int] = set()
        """Under which it has written: it comes as another one when it had not seen a purge."""
        self.skew_s = self.rng.uniform(-SKEW_S, SKEW_S)
        self.process = Process(cluster.loop, name)
        self.line: Line | None = None
        connector = Connector(list(cluster.server_by_name), self._open_line, cluster.chronicle)
        replica = Replica(SessionKind.SCRIPT, "simulated 1", cluster.limits)
        self.room = _SiteRoom(ROOM, replica, connector, cluster.limits, self.rng, self.now_ms)
        self.room.on_made = self._note
        self.room.on_reject(self._rejected)
        self.process.spawn(self._live())

    def now_ms(self) -> int:
        """Its clock."""
        return int((self.cluster.loop.time() + self.skew_s) * 1000)

    @property
    def replica(self) -> Replica:
        """Its replica."""
        return self.room.replica

    def _open_line(self, server_name: str) -> Line:
        self.line = self.cluster.open_line(self, server_name)
        if self.cluster.size.purges:
            self.line.on_sent = self._sent
        return self.line

    def _sent(self, frame: bytes) -> None:
        """Note what it makes again, as another site."""
        submit = decode_client_message(frame, self.cluster.limits)
        for envelope in submit.envelopes if isinstance(submit, Submit) else ():
            if (self.replica.site, envelope.counter) not in self.ledger.made:
                assert self.sites - {self.replica.site}, "sent and not made"
                self._made(envelope)

    def _note(self, payload: bytes) -> None:
        submit = decode_client_message(field_bytes(2, field_bytes(1, payload)), self.cluster.limits)
        assert isinstance(submit, Submit)
        (envelope,) = submit.envelopes
        self._made(envelope)

    def _made(self, envelope: Envelope) -> None:
        self.typed = self.ledger.note(self.replica.site, envelope)
        self.sites.add(self.replica.site)
        self.cluster.ops_made += len(envelope.ops)

    def _rejected(self, error: CollabKernelError) -> None:
        # A write to a key that may have been deleted and purged since comes to nothing, and its author is told.
        if not isinstance(error, DiscardedError) and error.code != PurgedError.code:
            self.cluster.loop.fail(AssertionError(f"an honest edit of {self.name} was refused: {error}"))

    async def _live(self) -> None:
        try:
            await self._edit_on()
        except Exception as error:  # noqa: BLE001  # whatever it is, nobody waits for it
            self.cluster.loop.fail(error)

    async def _edit_on(self) -> None:
        await self.room.join(HEAL_S * 100)
        author = Author(self, self.cluster.size.blocks)
        while not self.cluster.is_over:
            with suppress(InvalidValueError, DetachedError):
                self._edit(author)
            await asyncio.sleep(self.rng.expovariate(1 / self.cluster.size.think_s))

    def _edit(self, author: Author) -> None:
        rng, room = self.rng, self.room
        match rng.randrange(16 if self.cluster.size.blocks < BLOCKS else 8):
            case 0:
                room.map("map")[rng.choice("abc")] = rng.randrange(1000)
            case 1:
                items = room.list("list")
                if len(items) > 5:
                    del items[rng.randrange(len(items))]
                else:
                    items.insert(rng.randint(0, len(items)), rng.randrange(1000))
            case 2:
                items = room.list("list")
                if items:
                    items.move(rng.randrange(len(items)), rng.randrange(len(items)))
            case 3:
                text = room.text("text")
                start = rng.randint(0, len(text))
                text.replace(start, min(len(text), start + rng.randrange(3)), self.ledger.fresh(rng.randint(1, 3)))
            case _:
                author.edit()

    def crash(self) -> None:
        """Its process is killed; what is not acknowledged may be lost."""
        self.process.crash()
        if self.line is not None:
            self.line.cut()

    @property
    def site(self) -> int:
        """Its number in the log."""
        return self.replica.site

    @property
    def has_edited(self) -> bool:
        """It made something."""
        return self.replica.pending.next_counter > 1

    @property
    def through(self) -> int:
        """As far as it was shown the log."""
        return self.replica.through

    def is_settled(self, head: int) -> bool:
        """It has all, and all that it made is saved."""
        replica = self.replica
        return replica.is_caught_up and replica.is_saved and replica.through == head


class Cluster:
    """All of it."""

    def __init__(self, loop: SimulatedLoop, chronicle: Chronicle, size: Size, limits: Limits = LIMITS) -> None:
        self.loop = loop
        self.size = size
        self.chronicle = chronicle
        self.rng = chronicle.rng
        self.limits = limits
        self.ledger = Ledger()
        self.ops_made = 0
        self.is_over = False
        self.database = Database(loop, chronicle)
        self.wires = Wires(loop, chronicle)
        self.wires.is_in_order = self.rng.random() < 0.5
        self.split: set[tuple[str, str]] = set()
        """Clients and servers that do not reach each other."""
        self.seq_by_ack: dict[tuple[int, int], int] = {}
        self._read: OrderedDict[bytes, ServerMessage] = OrderedDict()
        """The newest frames."""
        self.server_by_name: dict[str, Server] = {}
        for i in range(size.servers):
            self.server_by_name[f"server {i}"] = Server(self, f"server {i}")
        self.sites: list[Site | RawSite] = []
        self.dead_sites: list[Site | RawSite] = []
        for kind in (Site,) * size.sites + (RawSite,) * size.raw_sites:
            self.add_site(kind)

    def add_site(self, kind: type[Site | RawSite]) -> None:
        """Another client comes."""
        name = f"site {len(self.sites) + len(self.dead_sites)}"
        self.sites.append(Site(self, name) if kind is Site else self._raw_site(name))

    def _raw_site(self, name: str) -> RawSite:
        servers = Servers(self.server_by_name, self.rng)
        skew_s = self.rng.uniform(-SKEW_S, SKEW_S)
        open_line = lambda server_name: self.open_line(site, server_name)  # noqa: E731  # a closure of this site
        site = RawSite(name, self.loop, servers, open_line, self.read, self.ledger, self.limits, skew_s)
        site.process.spawn(self._edit_raw(site))
        return site

    async def _edit_raw(self, site: RawSite) -> None:
        while not self.is_over:
            is_first = not site.has_edited
            await asyncio.sleep(
                self.rng.uniform(0, FIRST_S) if is_first else self.rng.expovariate(1 / self.size.think_s)
            )
            self.ops_made += site.edit() if not self.is_over else 0

    def kill(self, site: Site | RawSite) -> None:
        """Kill a client, and let another come."""
        site.crash()
        self.sites.remove(site)
        self.dead_sites.append(site)
        self.add_site(type(site))

    @property
    def servers(self) -> list[Server]:
        """All."""
        return list(self.server_by_name.values())

    @property
    def head(self) -> int:
        """The last seq of the log."""
        return len(self.log())

    def log(self) -> list[OpRow]:
        """All that is stored."""
        return self.database.log()

    # -- what must hold at any time

    def check_shown(self, line: Line, frame: bytes) -> None:
        """Each operation shown is in the log, at its seq, byte for byte; each acknowledged one too."""
        message = self.read(frame)
        # Not the frame: yrs writes the deletes of several clients in another order at each run.
        told = message.through, len(message.ops), message.acks, message.welcome is not None, message.bye
        self.chronicle.note(self.loop.time(), line.actor, *told)
        if message.welcome is not None:
            line.site = message.welcome.site
        for ack in message.acks:
            row = self.log()[ack.seq - 1]
            assert (row.site, row.counter) == (line.site, ack.counter), f"{ack} of {line.actor} is not in the log"
            assert self.seq_by_ack.setdefault((line.site, ack.counter), ack.seq) == ack.seq
        if message.bye is not None:
            self.chronicle.count(f"bye {message.bye.code}")
            assert message.bye.code in FINE_BYES, f"{line.actor} was sent away with {message.bye}"

    def read(self, frame: bytes) -> ServerMessage:
        """A frame that is sent, and all of whose operations are in the log."""
        message = self._read.get(frame)
        if message is None:
            message = decode_server_message(frame, self.limits)
            if message.welcome is None:  # that is for one alone, and has everybody's presence
                self._read[frame] = message
            if len(self._read) > FRAMES_READ:
                self._read.popitem(last=False)
            log = self.log()
            assert message.through <= len(log), f"complete up to {message.through} of {len(log)}"
            if message.snapshot is not None:
                assert message.snapshot.seq <= len(log), "a snapshot of what is not stored"
            for stored in message.ops:
                for i, op in enumerate(stored.envelope.ops):
                    row = log[stored.seq - 1 + i]
                    assert (row.site, row.counter, row.payload) == (
                        stored.site,
                        stored.envelope.counter + i,
                        encode_op(op),
                    )
        return message

    # -- lines

    def open_line(self, site: Site | RawSite, server_name: str) -> Line:
        """A line from a client to a server."""
        server = self.server_by_name[server_name]
        delay_s = self.rng.choice((0.002, 0.02, 0.2))
        line = Line(
            self.loop, self.chronicle, server, site.process, site.name, delay_s, self.limits.session_queue_low_bytes
        )
        if (site.name, server.name) in self.split:
            line.cut()
        server.lines.append(line)
        return line

    # -- coming to rest

    async def heal(self) -> None:
        """Nothing goes wrong any more; wait until everybody has everything.

        Raises:
            AssertionError: That takes too long.
        """
        self.is_over = True
        database, wires = self.database, self.wires
        database.is_away = database.is_full = False
        database.slowness, database.fault_odds = 1.0, 0.0
        wires.loss_odds = wires.double_odds = wires.late_odds = 0.0
        wires.split = frozenset()
        self.split.clear()
        for server in self.servers:
            server.database.is_cut = False
            server.bus.reconnect()
        end_s = self.loop.time() + HEAL_S
        rest_s, head = self.loop.time(), self.head
        while self.loop.time() < rest_s + REST_S:
            assert self.loop.time() < end_s, f"no rest: {self.unsettled()}"
            await asyncio.sleep(0.5)
            if head != self.head or self.unsettled():
                rest_s, head = self.loop.time(), self.head

    def unsettled(self) -> list[str]:
        """Who is not at rest."""
        head = self.head
        sites = [f"{each.name} at {each.through} of {head}" for each in self.sites if not each.is_settled(head)]
        return sites + [server.name for server in self.servers if not server.is_settled(head)]
