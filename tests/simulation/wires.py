"""The bus of a simulated cluster: as ``RedisBus`` is built, over wires that lose, delay, double and reorder.

What is lost is told as a gap where the receiver's connection broke. Otherwise it is found by the looks at the log.
"""

from __future__ import annotations

from collections.abc import Callable

from collabkernel.bus.base import Subscription
from collabkernel.bus.memory import MemoryBus
from collabkernel.bus.polling import POLL_MS, Log, PollingBus
from collabkernel.bus.redis import CALM_POLL_MS
from collabkernel.errors import ClosedError
from tests.simulation.chronicle import Chronicle
from tests.simulation.loop import Process, SimulatedLoop

OUTBOX_MESSAGES_MAX = 20
"""Messages that wait for a publisher's connection; over it all of them are lost."""
DELAY_S = 0.003


class Wires:
    """Between the buses of all servers."""

    def __init__(self, loop: SimulatedLoop, chronicle: Chronicle) -> None:
        self.loop = loop
        self.chronicle = chronicle
        self.buses: list[WiredBus] = []
        """Of those that are up."""
        self.loss_odds = self.double_odds = self.late_odds = 0.0
        self.is_in_order = True
        self.split: frozenset[str] = frozenset()
        """Names of two servers that do not hear each other."""
        self._last_s: dict[tuple[WiredBus, WiredBus], float] = {}

    def carry(self, sender: WiredBus, room_id: str, message: bytes) -> None:
        """Bring a message to all, its sender too."""
        for receiver in self.buses:
            self._carry(sender, receiver, room_id, message)

    def _carry(self, sender: WiredBus, receiver: WiredBus, room_id: str, message: bytes) -> None:
        rng, chronicle = self.chronicle.rng, self.chronicle
        if self.split == {sender.process.name, receiver.process.name}:
            chronicle.happened("bus message lost in a split")
        elif rng.random() < self.loss_odds:
            chronicle.happened("bus message lost")
        else:
            self._send(sender, receiver, room_id, message)
            if rng.random() < self.double_odds:
                chronicle.happened("bus message doubled")
                self._send(sender, receiver, room_id, message)

    def _send(self, sender: WiredBus, receiver: WiredBus, room_id: str, message: bytes) -> None:
        rng, loop = self.chronicle.rng, self.loop
        due_s = loop.time() + rng.expovariate(1 / DELAY_S)
        if rng.random() < self.late_odds:
            self.chronicle.happened("bus message late")
            due_s += rng.uniform(0.05, 3.0)
        last_s = self._last_s.get((sender, receiver), 0.0)
        if self.is_in_order:
            due_s = max(due_s, last_s)
        elif due_s < last_s:
            self.chronicle.happened("bus message overtook another")
        self._last_s[sender, receiver] = max(due_s, last_s)
        loop.call_at(due_s, receiver.arrived, room_id, message, context=receiver.process.context)


class WiredBus:
    """One server's ``Bus``."""

    def __init__(self, wires: Wires, log: Log, process: Process) -> None:
        self.process = process
        self.is_connected = True
        self._wires = wires
        self._local = MemoryBus()
        self._polling = PollingBus(log, CALM_POLL_MS)
        self._polled: dict[Subscription, Subscription] = {}
        self._outbox: list[tuple[str, bytes]] = []
        self._is_open = False

    async def open(self) -> None:
        """Connect."""
        await self._local.open()
        await self._polling.open()
        self._is_open = True
        self._wires.buses.append(self)

    async def close(self) -> None:
        """End all subscriptions and disconnect."""
        self.hang_up()
        await self._local.close()
        await self._polling.close()

    def hang_up(self) -> None:
        """Be gone, as far as others see."""
        self._is_open = False
        if self in self._wires.buses:
            self._wires.buses.remove(self)

    def publish(self, room_id: str, message: bytes) -> None:
        """Hand a message to every subscriber of the room."""
        if not self._is_open:
            raise ClosedError("this bus is not open")
        self._polling.publish(room_id, message)
        if self.is_connected:
            self._wires.carry(self, room_id, message)
        elif len(self._outbox) < OUTBOX_MESSAGES_MAX:
            self._outbox.append((room_id, message))
        else:
            self._outbox.clear()
            self._wires.chronicle.happened("outbox of the bus lost")

    def arrived(self, room_id: str, message: bytes) -> None:
        """A message has come over the wires."""
        if self.is_connected and self._is_open:
            self._polling.publish(room_id, message)
            self._local.publish(room_id, message)

    def disconnect(self) -> None:
        """Lose the connection; the log is looked at more often."""
        self.is_connected = False
        self._polling.look_every(POLL_MS)

    def reconnect(self) -> None:
        """Have it again: what was missed is told as a gap, and what waited is published."""
        if self.is_connected or not self._is_open:
            return
        self.is_connected = True
        self._polling.look_every(CALM_POLL_MS)
        for room_id in self._local.rooms():
            self._local.tell_gap(room_id)
        outbox, self._outbox = self._outbox, []
        for room_id, message in outbox:
            self._wires.carry(self, room_id, message)

    async def subscribe(
        self, room_id: str, on_message: Callable[[bytes], None], on_gap: Callable[[], None]
    ) -> Subscription:
        """Subscribe to a room."""
        subscription = await self._local.subscribe(room_id, on_message, on_gap)
        try:
            self._polled[subscription] = await self._polling.subscribe(
                room_id, lambda _: None, lambda: self._local.tell_gap(room_id)
            )
        except BaseException:
            await self.unsubscribe(subscription)
            raise
        return subscription

    async def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription."""
        await self._local.unsubscribe(subscription)
        polled = self._polled.pop(subscription, None)
        if polled is not None:
            await self._polling.unsubscribe(polled)
