"""The clients of one case, in a process of their own: reads a ``Plan`` as JSON, prints a ``LoadResult`` as JSON.

They keep no replicas and one thread serves them all (``editors_lines``), so that what is measured is the server; what
they themselves take of the processor is told with the rest.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypedDict

from tests.benchmarks.editors_dialects import dialect
from tests.benchmarks.editors_lines import Lines
from tests.benchmarks.editors_tally import TICKS_PER_S, Tally
from tests.benchmarks.jupyterlab_load import Meter

JOINS_AT_ONCE = 25
WARM_UP_S = 2.0
"""At the rate of the rest: all first words at once would be a larger load than what is measured."""
SETTLE_S = 1.0
"""What the joins brought about is answered by then."""
QUIET_S = 10.0
"""When all was sent and nothing came for so long, nothing more will: what is missing is missing."""
CHECK_S = 0.25
"""How often it is counted whether all was seen, once it may be."""
WATCHER = 1
"""The client who sees that the document is there, before the others are let in."""
READ_S = 3.0
"""How long a client that came after a crash listens: some servers send what they kept behind their first answer."""


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """Who does what."""

    system: str
    part: str
    """``yjs``, ``presence``, ``join``, ``write`` (then kill the server) or ``read``."""
    url: str
    headers: dict[str, str]
    server_pid: int
    clients: int
    rate: float = 0.0
    """Edits or cursors a second, of all together."""
    duration_s: float = 0.0
    large: str = ""
    """A file with a document that is brought in first, as the system takes it."""
    state_bytes: int = 0
    """A client is in when it was sent a state of at least this size."""
    schema: Any = None
    bound_s: float = 60.0
    """The whole run ends by then, done or not."""
    seed: int = 1


class LoadResult(TypedDict):
    """What was measured, after the warm-up."""

    unfinished: str
    """How far it had come when its time was up; empty when all was done."""
    visible_ms: list[float]
    """Percentiles 0, 1 to 100 of sent to seen, over edits and readers but their authors."""
    delivered: int
    """Edits times the readers that saw them."""
    expected: int
    cpu_s: float
    """Of the server's processes."""
    generator_cpu_s: float
    """Of this process: near ``elapsed_s``, it is what is measured."""
    elapsed_s: float
    memory_bytes: int
    """The most that the server held in the whole run, above what it held before anybody came."""
    join_ms: list[float]
    """From connecting to the last byte of the document, of those that came at once."""
    lines_ended: int
    """Clients that the server has sent away."""
    stood_still_s: float
    """The longest time in which the clients did nothing at all: more than a moment voids the run."""
    acked: list[int]
    shown: list[int]
    """Where writes are counted: those that somebody but their author was shown; after a crash, all that are there."""


class Load:
    """All clients of a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.speech = dialect(plan.system, plan.clients, plan.schema)
        self.tally = Tally(plan.clients, self.speech.marks)
        self.lines = Lines(plan.url, plan.headers, self._on_frame, self._on_large)
        self.lines.on_open = self._on_open
        self.acked: set[int] = set()
        self._began_s = time.perf_counter()
        self._until_s = self._began_s + plan.bound_s
        self._connecting_s = [0.0] * plan.clients
        self._join_ms = [0.0] * plan.clients
        """0 for who is not in."""
        self._joined = 0
        self._rng = random.Random(plan.seed)
        self._author: dict[int, int] = {}
        self._last_s = 0.0
        """When something was last said or shown."""
        self._checked_s = 0.0
        self._doing = "opening the document"
        self._first = self._end = 0
        """The edits that count."""

    def run(self) -> LoadResult:
        """Join, measure, leave; all of it within the plan's bound."""
        meter = Meter(self.plan.server_pid)
        parts = {"yjs": self._edits, "presence": self._edits, "join": self._joins}
        parts |= {"write": self._write, "read": self._read}
        used = [_used(meter)]
        try:
            is_done = parts[self.plan.part](lambda: used.append(_used(meter)))
        finally:
            now = _used(meter)
            meter.stop()
        began = used[-1]
        seen = self.tally.seen(self._first, self._end)
        result = LoadResult(
            unfinished="" if is_done else f"{self._doing}: {self._joined} of {self.plan.clients} clients had joined",
            visible_ms=seen.visible_ms,
            delivered=seen.delivered,
            expected=seen.expected,
            cpu_s=now[0] - began[0],
            generator_cpu_s=now[1] - began[1],
            elapsed_s=max(self._last_s, began[2] if seen.delivered else now[2]) - began[2],
            memory_bytes=meter.most_bytes - meter.idle_bytes,
            join_ms=[ms for ms in self._join_ms[WATCHER + 1 :] if ms],
            lines_ended=self.lines.ended,
            stood_still_s=self.lines.stood_still_s,
            acked=sorted(self.acked),
            shown=sorted(self._shown()),
        )
        self.lines.close()
        return result

    def _shown(self) -> set[int]:
        if self.plan.part == "read":
            return self.tally.shown()
        return self.tally.seen_by_others() if self.plan.part == "write" else set()

    # ------------------------------------------------------------ what they do

    def _edits(self, begin: Callable[[], None]) -> bool:
        """A little to warm up, then what counts, then until all was seen or nothing comes any more."""
        if not self._join_by_and_by():
            return False
        self._doing = "warming up"
        warm = self._plan_of(0, round(self.plan.rate * WARM_UP_S), WARM_UP_S)
        self._end = len(warm)
        if not self.lines.run(self._until_s, self._is_quiet, warm):
            return False
        self._doing, self._first = "editing", self._end
        due = self._plan_of(self._first, round(self.plan.rate * self.plan.duration_s), self.plan.duration_s)
        self._end += len(due)
        begin()
        return self.lines.run(self._until_s, self._is_quiet, due)

    def _joins(self, begin: Callable[[], None]) -> bool:
        """Two have the document open, then all others come at once."""
        self._doing = "opening the document"
        if not self._join(0, 1):
            return False
        for payload in self.speech.large(Path(self.plan.large).read_bytes()) if self.plan.large else ():
            self.lines.send(0, payload, self.speech.opcode)
        # What was brought is there when somebody else was sent it, at his coming or after it.
        if not self._join(WATCHER, WATCHER + 1):
            return False
        is_there = lambda: self.lines.bytes_of(WATCHER) >= self.plan.state_bytes  # noqa: E731
        if not self.lines.run(self._until_s, is_there):
            return False
        self._doing = "joining"
        begin()
        return self._join(WATCHER + 1, self.plan.clients)

    def _write(self, begin: Callable[[], None]) -> bool:
        """Write, and kill the server when it has acknowledged all, or shown all where nothing is acknowledged."""
        if not self._join_by_and_by():
            return False
        self._doing = "writing"
        self.lines.run(time.perf_counter() + SETTLE_S, lambda: False)
        begin()
        due = self._plan_of(0, round(self.plan.rate * self.plan.duration_s), self.plan.duration_s)
        self._end = len(due)
        is_done = self.lines.run(self._until_s, self._is_acked, due)
        os.killpg(self.plan.server_pid, signal.SIGKILL)
        return is_done

    def _read(self, begin: Callable[[], None]) -> bool:
        """Join after a crash, and listen a while."""
        begin()
        if not self._join(0, 1):
            return False
        self.lines.run(time.perf_counter() + READ_S, lambda: False)
        return True

    # ------------------------------------------------------------ its steps

    def _join_by_and_by(self) -> bool:
        self._doing = "joining"
        # One who is there before all: the server has the document open; pycrdt-websocket cannot open it twice at once.
        begun = 1
        if not self._join(0, 1):
            return False

        def go_on() -> bool:
            nonlocal begun
            while begun < self.plan.clients and begun - self._joined - self.lines.ended < JOINS_AT_ONCE:
                self._connect(begun)
                begun += 1
            return self._joined + self.lines.ended >= self.plan.clients

        return self.lines.run(self._until_s, go_on)

    def _join(self, begin: int, end: int) -> bool:
        for client in range(begin, end):
            self._connect(client)
        return self.lines.run(self._until_s, lambda: self._joined + self.lines.ended >= end)

    def _connect(self, client: int) -> None:
        self._connecting_s[client] = time.perf_counter()
        self.lines.connect(client)

    def _plan_of(self, first: int, count: int, duration_s: float) -> list[tuple[float, Callable[[], None]]]:
        """So many edits of all clients in turn, each somewhere in its share of the time."""
        start_s, pause_s = time.perf_counter(), duration_s / count
        order = list(range(self.plan.clients))
        self._rng.shuffle(order)

        def due() -> Iterator[tuple[float, Callable[[], None]]]:
            for number in range(count):
                client = order[number % len(order)]
                at_s = start_s + (number + self._rng.random()) * pause_s
                yield at_s, lambda client=client, number=first + number: self._say(client, number)

        return list(due())

    def _say(self, client: int, number: int) -> None:
        self._author[number] = client
        is_cursor = self.plan.part == "presence"
        payload = self.speech.cursor(client, number) if is_cursor else self.speech.edit(client, number)
        now_s = self._last_s = time.perf_counter()
        self.tally.sent(number, client, int((now_s - self._began_s) * TICKS_PER_S))
        self.lines.send(client, payload, self.speech.opcode)

    # ------------------------------------------------------------ whether all is done

    def _is_quiet(self) -> bool:
        now_s = time.perf_counter()
        if now_s > self._last_s + QUIET_S:
            return True
        if self.tally.noted < self._end * (self.plan.clients - 1) or now_s < self._checked_s + CHECK_S:
            return False
        self._checked_s = now_s
        counted = self._first, self._end
        return self.tally.delivered(*counted) >= self.tally.expected(*counted)

    def _is_acked(self) -> bool:
        now_s = time.perf_counter()
        if now_s > self._last_s + QUIET_S:
            return not self.speech.ack
        if self.speech.ack:
            return len(self.acked) == self._end
        if now_s < self._checked_s + CHECK_S:
            return False
        self._checked_s = now_s
        return len(self.tally.seen_by_others()) == self._end

    # ------------------------------------------------------------ what they are told

    def _on_open(self, client: int) -> None:
        for payload in self.speech.hello(client):
            self.lines.send(client, payload, self.speech.opcode)

    def _on_frame(self, client: int, frame: bytes) -> None:
        now_s = time.perf_counter()
        if not self._join_ms[client]:
            self._on_large(client, frame, len(frame))
        is_marked = self.tally.note(client, frame, int((now_s - self._began_s) * TICKS_PER_S))
        if is_marked:
            self._last_s = now_s
        if self.plan.part == "write":
            mine = [number for number in self.speech.acked(client, frame) if self._author.get(number) == client]
            self.acked.update(mine)
        if not is_marked and frame and (answer := self.speech.answer(frame)) is not None:
            self.lines.send(client, answer, self.speech.opcode)

    def _on_large(self, client: int, head: bytes, size_bytes: int) -> None:
        """The beginning of a frame; it may be the document that a client has asked for."""
        state_bytes = self.plan.state_bytes if client > WATCHER or not self.plan.large else 0
        if not self._join_ms[client] and size_bytes >= state_bytes and self.speech.is_state(head):
            self._join_ms[client] = (time.perf_counter() - self._connecting_s[client]) * 1000
            self._joined += 1


def _used(meter: Meter) -> tuple[float, float, float]:
    """The server's processor time, ours, and when."""
    return meter.cpu_s(), time.process_time(), time.perf_counter()


if __name__ == "__main__":
    print(json.dumps(Load(Plan(**json.load(sys.stdin))).run()))
