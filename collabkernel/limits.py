"""Every bound of the system, with its unit and its reason.

``Limits`` is frozen; the server makes one from its traits and passes it in. A client learns the ones that concern it
from ``Welcome``. Constants below it are facts of the format, the same for all.
"""

from __future__ import annotations

from dataclasses import dataclass

SITE_MAX = 2**32 - 1
"""Sites are 32 bits, as Yjs client ids are; 0 is reserved for shared containers."""
COUNTER_MAX = 2**53 - 1
"""Counters and seqs are exact in a JavaScript number."""
HLC_MAX = 2**64 - 1
INT_MIN, INT_MAX = -(2**63), 2**63 - 1
"""Integers of live values are 64-bit."""
YJS_CLOCK_MAX = 2**31 - 1
"""Yjs clocks stay below what every Yjs implementation reads as a positive 32-bit number."""
ORDER_KEY_BYTES_MAX = 256


@dataclass(frozen=True, slots=True)
class Limits:
    """What one server allows. Sizes in bytes, times in milliseconds unless the name says otherwise."""

    frame_bytes: int = 1 << 20
    """A frame from a client: a paste of a megabyte fits, and 1,000 hostile clients cost at most a gigabyte."""
    server_frame_bytes: int = 32 << 20
    """A frame to a client: a snapshot of a full room fits."""
    key_bytes: int = 1024
    """A map key, UTF-8: names, not contents."""
    value_bytes: int = 256 << 10
    """A scalar value or one text update: larger things belong in files."""
    envelope_ops: int = 10_000
    """Operations in one envelope (a batch): applied in one go, so it bounds how long a room is busy."""
    text_work: int = 1 << 30
    """Cuts in texts times their bytes, of one envelope: about a fifth of a second (``room/text_work.py``)."""
    room_bytes: int = 10 << 20
    """Live contents of a room, tombstones included: the free tier's snapshot size."""
    depth: int = 64
    """Nesting of live values: far over what people build, far under Python's recursion limit."""
    presence_bytes: int = 4 << 10
    """A session's presence or one broadcast event, as JSON."""
    ops_per_s: int = 2000
    """Operations a second a session, averaged over ``ops_burst``; a fast script with batches stays under it."""
    ops_burst: int = 20_000
    """Operations that a session may send at once: the offline queue of a day's typing."""
    refused_ops: int = 20
    """What a refused envelope is charged on top: taking its first half back may cost a walk over a text."""
    resent_ops: int = 5
    """What a resent envelope is charged: the log is asked for it."""
    in_flight_bytes: int = 32 << 20
    """Operations of a room that wait for the log; over it sessions are told to send again later."""
    events_per_s: int = 100
    """Presence updates and broadcasts a second a session: the SDK sends 4."""
    frames_per_s: int = 1000
    """Frames a second a session, whatever they hold: Tornado spends about 50 us on each."""
    frame_bytes_per_s: int = 2 << 20
    """Bytes of frames a second a session, twice that at once; over it the socket is not read for a while."""
    sessions_per_room: int = 2000
    """Sessions in one room: twice the design's 1,000 editors."""
    joins_per_s: int = 20
    """Connections a second of one user, averaged over ``joins_burst``: each costs a row and a snapshot."""
    joins_burst: int = 2000
    """Connections that a user may make at once: a classroom's scripts that come back after a restart."""
    rooms_per_server: int = 10_000
    """Rooms loaded at once."""
    session_queue_bytes: int = 4 << 20
    """High mark of a session's outgoing queue; over it the session is lagging and its queue is dropped (ops are caught
    up from the log when it drains)."""
    session_queue_low_bytes: int = 1 << 20
    """Low mark: under it a lagging session is caught up."""
    lagging_max_ms: int = 60_000
    """A session lagging longer is closed with ``slow-consumer``; it may resume."""
    room_inbox_events: int = 4096
    """Events waiting for a room's task; a session that finds it full is not read until there is room."""
    room_inbox_bytes: int = 16 << 20
    """... and their bytes; one session has at most a frame's worth there."""
    commit_batch_ops: int = 5000
    """Operations in one commit, so that one commit stays in the tens of milliseconds."""
    commit_batch_bytes: int = 8 << 20
    """... and about this much of their contents."""
    commit_tick_ms: int = 20
    """The longest that an append waits for others to share its commit."""
    flush_tick_min_ms: int = 0
    flush_tick_max_ms: int = 100
    """The flush tick is at once when idle and at most this under load."""
    presence_tick_ms: int = 100
    catch_up_ops: int = 5000
    """A reader further behind than this gets a snapshot rather than the operations."""
    ring_bytes: int = 8 << 20
    """Recent operation frames that a room keeps in memory for catch-up."""
    snapshot_ops: int = 500
    """Operations after which a snapshot is due ..."""
    snapshot_age_ms: int = 600_000
    """... or this long after the first operation since the last one ..."""
    snapshot_min_interval_ms: int = 60_000
    """... but no more often than this a room."""
    room_idle_ms: int = 60_000
    """A room without sessions is unloaded after this."""
    stamp_ahead_ms: int = 2000
    """An author's stamp further ahead of the server's clock is lowered."""
    hello_timeout_ms: int = 10_000
    """A socket that has not said Hello by then is closed."""
    ticket_ttl_ms: int = 60_000
    """An auth ticket is used within this, or never."""
    tickets_outstanding: int = 10_000
    """Unspent tickets kept; the oldest go first."""
    sites_per_room: int = 1_000_000
    """Sites ever seen in a room; each costs a row."""
    pending_envelopes: int = 100_000
    """Unacknowledged envelopes that a client replica holds while offline."""
    undo_steps: int = 200
    """Steps that a client's history keeps."""
    reconnect_min_ms: int = 100
    reconnect_max_ms: int = 10_000
    """Back-off of a client's reconnects, with full jitter."""
    connect_timeout_ms: int = 10_000
    """Waiting for an upgrade and its Welcome."""
    shutdown_ms: int = 1500
    """From SIGTERM to the last socket closed, flushes included: exit stays under two seconds."""
    resyncs_per_minute: int = 30
    """Snapshots that one session may ask for."""
