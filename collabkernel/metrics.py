"""What operators watch, at Jupyter's ``/metrics``: Prometheus metrics on the default registry.

Module-level metric objects are prometheus-client's own idiom: made once when the module is first imported, however many
servers and storages a process has. All of them count for the whole process. The names without prefix are the ones that
operators of the design's table know; the others say ``collabkernel_``.
"""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections import deque
from collections.abc import Iterator

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

RATE_WINDOW_S = 10
"""``storage_op_rate`` is the mean of this many full seconds: short enough for an alert, long enough not to flicker."""
_ROOMS_TALLIED_MAX = 10_000
"""Rooms told apart in one second of ``storage_op_rate``; ``Limits.rooms_per_server`` are loaded at most."""

_MS_BUCKETS = (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)

storage_op_rtt_ms = Histogram(
    "storage_op_rtt_ms", "Milliseconds from handing a batch of operations to storage until it is stored.",
    buckets=_MS_BUCKETS,
)  # fmt: skip
storage_failures = Counter("collabkernel_storage_failures", "Calls that failed because of the database.")
blob_failures = Counter("collabkernel_blob_failures", "Calls to the place of blobs (blob_url) that failed.")
storage_op_rate = Gauge(
    "storage_op_rate",
    f"Operations stored a second over {RATE_WINDOW_S} s, in all rooms and in the busiest one.",
    ["scope"],
)
snapshot_latency_ms = Histogram(
    "snapshot_latency_ms", "Milliseconds that writing a snapshot took.", buckets=_MS_BUCKETS
)
oplog_lag = Gauge("oplog_lag", "Operations between the log's head and what this server has applied, in the worst room.")
sessions = Gauge("collabkernel_sessions", "Sessions connected.")
rooms = Gauge("collabkernel_rooms", "Rooms loaded.")
compacted_ops = Counter("collabkernel_compacted_ops", "Operations that compaction dropped from rooms' logs.")
purged = Counter("collabkernel_purged", "Dead slots of lists, deleted keys and deleted blocks that rooms have purged.")
degraded = Gauge("collabkernel_degraded", "1 while the database does not answer and edits wait for it, else 0.")
rejects = Counter("collabkernel_rejects", "Edits and frames refused, by code.", ["code"])

REJECT_CODES = frozenset({
    "access-denied", "archive", "awareness-of-another", "awareness-of-too-many", "awareness-too-large", "bad-resume",
    "bad-ticket", "banned", "blob-lost", "busy", "closed", "compaction-differs", "counter-gap", "degraded", "detached",
    "fenced", "foreign-client", "frame-too-large", "invalid-operation", "invalid-room-name", "invalid-value",
    "invalid-yjs-update", "lease-lost", "limit", "local-error", "log-dropped", "malformed-frame", "migration",
    "migration-differs", "moved", "not-kept", "not-loaded", "protocol-error", "purged", "rate", "read-only",
    "room-not-found", "server-draining", "server-stopping", "slow-consumer", "split-pair", "stale-page",
    "storage-error", "superseded", "too-deep", "too-large", "too-many", "unknown-reference", "unknown-target",
    "wrong-target-kind", "yjs-gap",
})  # fmt: skip
"""The label values of ``rejects``; any other code counts as ``other``, so that the label stays bounded."""


class RateMeter:
    """Operations a second, in all and in the busiest room, over the last full seconds."""

    def __init__(self, window_s: int = RATE_WINDOW_S) -> None:
        self._window_s = window_s
        self._seconds: deque[tuple[int, Tally[str]]] = deque(maxlen=window_s + 1)
        """(second, operations by room), oldest first; the last one may still grow."""

    def add(self, room_id: str, ops_count: int, now_s: float) -> None:
        """Count operations that were stored."""
        second = int(now_s)
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append((second, Tally()))
        tally = self._seconds[-1][1]
        tally[room_id if room_id in tally or len(tally) < _ROOMS_TALLIED_MAX else ""] += ops_count

    def total_per_s(self, now_s: float) -> float:
        """Operations a second in all rooms."""
        return self._sum(now_s).total() / self._window_s

    def busiest_per_s(self, now_s: float) -> float:
        """Operations a second in the room that has most."""
        return max(self._sum(now_s).values(), default=0) / self._window_s

    def _sum(self, now_s: float) -> Tally[str]:
        first = int(now_s) - self._window_s
        counted: Tally[str] = Tally()
        for second, tally in self._seconds:
            if first <= second < int(now_s):
                counted.update(tally)
        return counted


_rate = RateMeter()
storage_op_rate.labels("all").set_function(lambda: _rate.total_per_s(time.monotonic()))
storage_op_rate.labels("busiest_room").set_function(lambda: _rate.busiest_per_s(time.monotonic()))


class Traffic(Collector):
    """What each edit counts: plain numbers, read when somebody asks. A ``Counter`` takes a lock each time, 5 us."""

    def __init__(self) -> None:
        self.stored_ops = self.frames_in = self.frames_out = self.bytes_in = self.bytes_out = 0

    def collect(self) -> Iterator[CounterMetricFamily]:
        """The counters of now."""
        yield CounterMetricFamily("collabkernel_storage_ops", "Operations stored.", self.stored_ops)
        for name, text, inwards, outwards in (
            ("collabkernel_frames", "WebSocket messages.", self.frames_in, self.frames_out),
            ("collabkernel_frame_bytes", "Bytes of WebSocket messages.", self.bytes_in, self.bytes_out),
        ):
            family = CounterMetricFamily(name, text, labels=["direction"])
            family.add_metric(["in"], inwards)
            family.add_metric(["out"], outwards)
            yield family


_traffic = Traffic()
REGISTRY.register(_traffic)


def count_stored(room_id: str, ops_count: int) -> None:
    """Count operations that were stored in a room."""
    _traffic.stored_ops += ops_count
    _rate.add(room_id, ops_count, time.monotonic())


def count_frame_in(size_bytes: int) -> None:
    """Count a message from a client."""
    _traffic.frames_in += 1
    _traffic.bytes_in += size_bytes


def count_frames_out(frames_count: int, size_bytes: int) -> None:
    """Count messages to clients, and their bytes together."""
    _traffic.frames_out += frames_count
    _traffic.bytes_out += size_bytes


def count_reject(code: str) -> None:
    """Count a refusal."""
    rejects.labels(code if code in REJECT_CODES else "other").inc()
