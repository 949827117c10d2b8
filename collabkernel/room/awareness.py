"""Awareness of a room: what its clients show of themselves, whose word that is, and the frame of each tick.

A client shows itself under its Yjs client id and renews that every 15 seconds; others forget it after 30. Here an id
belongs to the session that brought it, for as long as that is connected; what it shows under ``user`` is overwritten by
who the server knows it to be. Changes are gathered for a tick and sent to everybody in one frame, the author too: that
echo keeps his socket alive. A renewal that changes nothing waits longer, so that 500 readers who do nothing cost a
frame every few seconds.

What clients at other servers show comes signed by those, and is shown like the rest; they are told what is shown here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from collabkernel.limits import Limits
from collabkernel.room.session import Principal
from collabkernel.wire.y_protocol import AwarenessEntry, encode_awareness, state_json

RENEWAL_TICK_MS = 5_000
"""Renewals wait so long for each other: with the 15 seconds between two it is well under those 30."""
TOGETHER_MS = 1_000
"""Renewals are sent at a full second, so that a server of 150 idle rooms wakes once for ten of them."""
OUTDATED_MS = 30_000
"""What was not renewed for so long is not told to newcomers."""
GONE_MAX = 1_000
"""Clients that left whose clocks are remembered."""
TICK_BYTES = 32 << 20
"""What a tick may send to all sessions together: 1,000 cursors at 1 Hz are 25 KB a tick for each of 1,000 sessions."""
FRAME_BYTES_MIN = 8 << 10
"""But this much, however many sessions there are."""
CLOCK_MAX = 2**31 - 1
"""Clocks of awareness: one a second for a lifetime. One at the end of the wire's numbers could not be exceeded."""
LEFT = state_json(None)
ELSEWHERE = -1
"""In place of the session of a client that is at another server."""
GONE_ELSEWHERE_MS = 40_000
"""A client at another server that was not renewed for so long is gone; its renewals come every 15 to 20 seconds."""
MESSAGE_BYTES = 64 << 10
"""About how much one message tells other servers; the rest goes with the next tick."""


class _Shown(NamedTuple):
    clock: int
    text: bytes
    session_id: int
    actor: str
    at_ms: int
    said: bytes
    """What its session said, of which ``text`` was made; of a client elsewhere its server."""


class AwarenessBoard:
    """What each client shows."""

    __slots__ = (
        "_asks",
        "_changed",
        "_full",
        "_full_at_ms",
        "_gone",
        "_limits",
        "_owned",
        "_renewed",
        "_renewed_at_ms",
        "_sent_at_ms",
        "_shown",
        "_untold",
    )

    def __init__(self, limits: Limits, has_peers: bool = False) -> None:
        self._limits = limits
        self._asks = has_peers
        self._untold: dict[int, tuple[int, bytes]] | None = {} if has_peers else None
        """What other servers have not been told of clients here; None where there are none."""
        self._shown: dict[int, _Shown] = {}
        """By client id."""
        self._owned: dict[int, set[int]] = {}
        """Client ids by session."""
        self._gone: OrderedDict[int, tuple[int, str]] = OrderedDict()
        """The clock at which a client's leaving was told, and his actor: coming back, it must be above."""
        self._changed: dict[int, tuple[int, bytes]] = {}
        self._renewed: dict[int, None] = {}
        self._renewed_at_ms = 0
        self._sent_at_ms = 0
        self._full: bytes | None = None
        self._full_at_ms = 0

    def take(self, session_id: int, who: Principal, entry: AwarenessEntry, now_ms: int) -> str | None:
        """Take what a session says of one client; return the code of why not, or None.

        Stock clients send all that they are sent back again, also that others left: of a client that is not the
        session's own nothing is heard.

        Raises:
            MalformedFrameError: The state is no JSON object.
        """
        client, clock, text = entry
        if clock > CLOCK_MAX:
            return "awareness-clock"
        known = self._shown.get(client)
        if known is None:
            if text == LEFT or not self._may_come(client, clock, who):
                return None
        elif known.session_id != session_id and (known.actor != who.actor or clock < known.clock or text == LEFT):
            return "awareness-of-another" if known.actor != who.actor and clock > known.clock else None
        elif text == LEFT:
            self._leave(client, max(clock, known.clock))
            return None
        elif known.session_id == session_id and clock <= known.clock:
            return None
        elif known.session_id == session_id and text == known.said:
            self._renew(client, known._replace(clock=clock, at_ms=now_ms))
            return None
        if (refused := self._refused(session_id, entry)) is not None:
            return refused
        state = entry.state
        if state is None:
            return None
        return self._show(session_id, who, entry, state_json(_signed(state, who)), now_ms)

    def _may_come(self, client: int, clock: int, who: Principal) -> bool:
        """Whether this is not just an echo of somebody who has left."""
        clock_gone, actor = self._gone.get(client, (-1, ""))
        return clock > clock_gone or actor == who.actor

    def _refused(self, session_id: int, entry: AwarenessEntry) -> str | None:
        """Why a state is not even read: 30 MB of JSON are seconds of work."""
        if len(entry.text) > self._limits.awareness_bytes:
            return "awareness-too-large"
        owned = self._owned.get(session_id, ())
        if entry.client not in owned and len(owned) >= self._limits.awareness_clients:
            return "awareness-of-too-many"
        return None

    def _show(self, session_id: int, who: Principal, entry: AwarenessEntry, text: bytes, now_ms: int) -> str | None:
        if len(text) > self._limits.awareness_bytes:
            return "awareness-too-large"
        client, clock, said = entry
        known = self._shown.get(client)
        self._own(session_id, client, known)
        clock = max(clock, self._gone.pop(client, (-1, ""))[0] + 1)  # peers take no clock that they saw leave
        shown = _Shown(clock, text, session_id, who.actor, now_ms, said)
        if known is not None and known.text == text:
            self._renew(client, shown)
            return None
        self._shown[client] = shown
        self._full = None
        if known is None or clock > known.clock:
            self._change(client, shown, text)
        return None

    def _change(self, client: int, shown: _Shown, text: bytes) -> None:
        self._changed[client] = (shown.clock, text)
        if self._untold is not None and shown.session_id != ELSEWHERE:
            self._untold[client] = (shown.clock, text)

    def _renew(self, client: int, shown: _Shown) -> None:
        """A client shows what it showed before."""
        self._shown[client] = shown
        self._full = None
        if not self._renewed:
            self._renewed_at_ms = shown.at_ms
        self._renewed[client] = None

    def _own(self, session_id: int, client: int, known: _Shown | None) -> None:
        """Give a client to a session; a user's newer connection takes it from his older one."""
        owned = self._owned.setdefault(session_id, set())
        if client not in owned:
            if known is not None:
                self._owned[known.session_id].discard(client)
            owned.add(client)

    def _leave(self, client: int, clock: int) -> None:
        shown = self._shown.pop(client)._replace(clock=clock)
        self._owned[shown.session_id].discard(client)
        self._renewed.pop(client, None)
        self._change(client, shown, LEFT)
        self._gone[client] = (clock, shown.actor)
        if len(self._gone) > GONE_MAX:
            self._gone.popitem(last=False)
        self._full = None

    def leave(self, session_id: int) -> None:
        """The session is gone, and what it spoke for with it."""
        for client in list(self._owned.get(session_id, ())):
            self._leave(client, self._shown[client].clock)
        self._owned.pop(session_id, None)

    # -- other servers

    def hear(self, origin: bytes, entries: Iterable[AwarenessEntry], is_asking: bool, now_ms: int) -> None:
        """Take what another server tells of its clients. One that is here is told of by this server alone."""
        for entry in entries:
            self._hear(origin, entry, now_ms)
        if is_asking and self._untold is not None:
            own = {client: shown for client, shown in self._shown.items() if shown.session_id != ELSEWHERE}
            self._untold |= {client: (shown.clock, shown.text) for client, shown in own.items()}

    def _hear(self, origin: bytes, entry: AwarenessEntry, now_ms: int) -> None:
        client, clock, text = entry
        known = self._shown.get(client)
        if clock > CLOCK_MAX or (known is not None and known.session_id != ELSEWHERE):
            return
        if text == LEFT:
            if known is not None and known.said == origin:
                self._leave(client, max(clock, known.clock))
        elif known is None or clock > known.clock:
            shown = _Shown(clock, text, ELSEWHERE, _actor_of(entry.state), now_ms, origin)
            self._owned.setdefault(ELSEWHERE, set()).add(client)
            self._gone.pop(client, None)
            if known is not None and known.text == text:
                self._renew(client, shown)
            else:
                self._shown[client] = shown
                self._full = None
                self._change(client, shown, text)

    def tell(self) -> tuple[bytes, bool] | None:
        """What other servers are told now, and whether they are asked; None for nothing."""
        if not (self._untold or self._asks):
            return None
        told: list[tuple[int, int, bytes]] = []
        size_bytes = 0
        while self._untold and size_bytes < MESSAGE_BYTES:
            client = next(iter(self._untold))
            told.append((client, *self._untold.pop(client)))
            size_bytes += len(told[-1][2])
        is_asking, self._asks = self._asks, False
        return encode_awareness(told), is_asking

    def forget(self, now_ms: int) -> None:
        """Let those at other servers go who were not renewed for long."""
        for client in list(self._owned.get(ELSEWHERE, ())):
            if self._shown[client].at_ms + GONE_ELSEWHERE_MS <= now_ms:
                self._leave(client, self._shown[client].clock)

    # -- the tick

    def due_ms(self) -> int | None:
        """When to send ``frame``; None when there is nothing."""
        if self._changed or self._untold or self._asks:
            return self._sent_at_ms + self._limits.presence_tick_ms
        if self._renewed:
            due_ms = max(self._renewed_at_ms + RENEWAL_TICK_MS, self._sent_at_ms + self._limits.presence_tick_ms)
            return -(-due_ms // TOGETHER_MS) * TOGETHER_MS
        return None

    def frame(self, sessions_count: int, now_ms: int) -> bytes:
        """What is new, for everybody; what is over the tick's size waits. Renewals fill up a frame that goes anyway."""
        bytes_max = max(FRAME_BYTES_MIN, TICK_BYTES // max(1, sessions_count))
        self._sent_at_ms = now_ms
        entries: list[tuple[int, int, bytes]] = []
        size_bytes = 0
        while self._changed and size_bytes < bytes_max:
            client = next(iter(self._changed))
            entries.append((client, *self._changed.pop(client)))
            size_bytes += len(entries[-1][2])
            self._renewed.pop(client, None)
        while self._renewed and now_ms >= self._renewed_at_ms + RENEWAL_TICK_MS and size_bytes < bytes_max:
            client = next(iter(self._renewed))
            del self._renewed[client]
            shown = self._shown[client]
            entries.append((client, shown.clock, shown.text))
            size_bytes += len(shown.text)
            if self._untold is not None and shown.session_id != ELSEWHERE:
                self._untold[client] = (shown.clock, shown.text)
        return encode_awareness(entries)

    def full(self, now_ms: int) -> bytes:
        """What everybody shows, for who has just come; empty when nobody shows anything."""
        if self._full is None or now_ms > self._full_at_ms + RENEWAL_TICK_MS:
            self._full_at_ms = now_ms
            oldest_ms = now_ms - OUTDATED_MS
            entries = [(c, s.clock, s.text) for c, s in self._shown.items() if s.at_ms >= oldest_ms]
            self._full = encode_awareness(entries) if entries else b""
        return self._full

    def states(self) -> dict[int, bytes]:
        """What each client shows, as JSON."""
        return {client: shown.text for client, shown in self._shown.items()}


def _signed(state: dict[str, Any], who: Principal) -> dict[str, Any]:
    return {**state, "user": dict(who.identity)} if who.identity else state


def _actor_of(state: Mapping[str, Any] | None) -> str:
    """Whose word a state is that another server has signed."""
    match state:
        case {"user": {"username": str(name)}}:
            return name
    return ""
