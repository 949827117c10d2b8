"""A client that keeps no state but the end of the log that it was shown: thousands of them fit in one history.

What it is shown is compared with the log where it is sent (``cluster``); that nothing is passed over is checked here.
Some of what it makes is nonsense, which has to be refused for good.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from collabkernel.client.backoff import Backoff
from collabkernel.client.servers import Servers
from collabkernel.client.transport import LinkError
from collabkernel.crdt.clock import hlc_from_ms
from collabkernel.crdt.ids import ROOT, OpId
from collabkernel.document.operations import Envelope, MapSet
from collabkernel.errors import CollabKernelError
from collabkernel.limits import Limits
from collabkernel.wire.codec import encode_client_message
from collabkernel.wire.messages import ClientMessage, Hello, Reject, Resume, Resync, ServerMessage, SessionKind, Submit
from tests.simulation.ledger import Ledger
from tests.simulation.lines import Line
from tests.simulation.loop import Process, SimulatedLoop

KEYS = 3
"""Of the room that one sets."""
NONSENSE_ODDS = 0.1
RESYNC_ODDS = 0.05
NOWHERE = OpId(9, 9)


class RawSite:
    """One site, which reconnects and resumes for ever."""

    def __init__(
        self,
        name: str,
        loop: SimulatedLoop,
        servers: Servers,
        open_line: Callable[[str], Line],
        read: Callable[[bytes], ServerMessage],
        ledger: Ledger,
        limits: Limits,
        skew_s: float,
    ) -> None:
        self.name = name
        self.loop = loop
        self.process = Process(loop, name)
        self.skew_s = skew_s
        self.line: Line | None = None
        self.site = 0
        self.through = 0
        self.refused: set[int] = set()
        """First counters."""
        self.nonsense: set[int] = set()
        self._rng = loop.rng
        self._servers = servers
        self._open_line = open_line
        self._read = read
        self._ledger = ledger
        self._backoff = Backoff(limits.reconnect_min_ms, limits.reconnect_max_ms, loop.rng)
        self._secret = b""
        self._through_op: OpId | None = None
        self._unanswered: dict[int, Envelope] = {}
        """By first counter, in their order."""
        self._next_counter = 1
        self._unsent = 1
        """Counters from here on were not sent on this line."""
        self._is_live = self._is_degraded = False
        self.process.spawn(self._live())

    def now_ms(self) -> int:
        """Its clock."""
        return int((self.loop.time() + self.skew_s) * 1000)

    # -- editing

    def edit(self) -> int:
        """Make an envelope, and send it if that may be; how many operations it has."""
        if not self.site:
            return 0
        rng, counter = self._rng, self._next_counter
        is_nonsense = rng.random() < NONSENSE_ODDS
        values = [MapSet(ROOT, f"{self.name}:{rng.randrange(KEYS)}", counter + i) for i in range(rng.randint(1, 2))]
        ops = (*values, MapSet(NOWHERE, "k", counter)) if is_nonsense else tuple(values)
        envelope = Envelope(counter, self.through, hlc_from_ms(self.now_ms()), ops)
        self._next_counter += len(ops)
        self._unanswered[counter] = envelope
        if is_nonsense:
            self.nonsense.add(counter)
        else:
            self._ledger.note(self.site, envelope)
        self._send_on()
        return len(ops)

    def _send_on(self) -> None:
        if not self._is_live or self._is_degraded:
            return
        envelopes = [envelope for counter, envelope in self._unanswered.items() if counter >= self._unsent]
        if envelopes:
            self._unsent = envelopes[-1].last_counter + 1
            self._say(Submit(tuple(envelopes)))
        if self._rng.random() < RESYNC_ODDS:
            self._say(Resync())

    def _say(self, message: ClientMessage) -> None:
        assert self.line is not None
        self.line.put(encode_client_message(message))

    @property
    def has_edited(self) -> bool:
        """It made something."""
        return self._next_counter > 1

    def is_settled(self, head: int) -> bool:
        """It has seen all, and all that it made is answered."""
        return self._is_live and self.through == head and not self._unanswered

    def crash(self) -> None:
        """Its process is killed."""
        self.process.crash()
        if self.line is not None:
            self.line.cut()

    # -- its lines

    async def _live(self) -> None:
        while True:
            retry_ms = 0
            try:
                await self._converse()
            except LinkError as error:
                retry_ms = 0 if self._servers.leave() else error.retry_after_ms or 0
            self._is_live = False
            await asyncio.sleep(self._backoff.next_ms(retry_ms) / 1000)

    async def _converse(self) -> None:
        line = self.line = self._open_line(self._servers.url)
        try:
            await line.open()
            resume = Resume(self.site, self._secret, self.through, self._through_op) if self.site else None
            self._say(Hello(SessionKind.SCRIPT, "raw 1", resume))
            while True:
                message = self._read(await line.receive())
                try:
                    self._receive(message)
                except (AssertionError, CollabKernelError) as error:
                    self.loop.fail(error)
        finally:
            await line.close()

    def _receive(self, message: ServerMessage) -> None:
        if message.welcome is not None:
            self._welcomed(message)
        if message.snapshot is not None:
            self.through, self._through_op = message.snapshot.seq, message.snapshot.op
        for stored in message.ops:
            if stored.last_seq <= self.through:
                continue
            assert stored.seq == self.through + 1, f"{self.name} was shown {stored.seq} after {self.through}"
            self.through = stored.last_seq
            self._through_op = stored.op_id(len(stored.envelope.ops) - 1)
        for ack in message.acks:
            assert ack.counter not in self.nonsense, f"nonsense of {self.name} is acknowledged"
            self._unanswered.pop(ack.counter, None)
        for reject in message.rejects:
            self._rejected(reject)
        if message.degraded is not None:
            self._is_degraded = message.degraded
            self._start_over(0)

    def _welcomed(self, message: ServerMessage) -> None:
        welcome = message.welcome
        assert welcome is not None
        assert not self.site or welcome.site == self.site, "a site that is known is resumed"
        self.site, self._secret = welcome.site, welcome.secret or self._secret
        if welcome.resync:
            self.through, self._through_op = 0, None
        self._is_live, self._is_degraded = True, False
        self._servers.stay()
        self._backoff.reset()
        self._start_over(0)

    def _rejected(self, reject: Reject) -> None:
        if reject.final:
            assert reject.counter in self.nonsense, f"{self.name} was refused {reject}"
            self.refused.add(reject.counter)
            self._unanswered.pop(reject.counter, None)
        else:
            self.loop.call_later(reject.retry_after_ms / 1000, self._start_over, reject.counter)

    def _start_over(self, counter: int) -> None:
        """Send again what is not answered, from there."""
        self._unsent = counter
        self._send_on()
