"""Edits on disk until the server has them: a script that is killed offline resumes its site and sends them.

The file is append-only. Each record:

=======  =====  ========================================================
offset   bytes  what
=======  =====  ========================================================
0        4      length of the body, big-endian
4        4      CRC-32 of the body, big-endian
8        1      kind: R room, S site, E envelope, B answered below
9        n      R: room name; S: site (4 bytes) and resume secret; E: an
                encoded ``Envelope``; B: a counter (8 bytes)
=======  =====  ========================================================

A site record makes what stands before it void. A torn record at the end is cut off. An edit is written at once (a kill
of the process keeps it) and synced before it is sent (a power cut keeps what the server may have seen).
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from collabkernel.client.site import StoredSite
from collabkernel.document.operations import Envelope
from collabkernel.errors import LocalProtocolError, MalformedFrameError
from collabkernel.wire import collab_pb2 as pb
from collabkernel.wire import strict
from collabkernel.wire.ops import envelope_of

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # checked where it is used

HEAD = struct.Struct(">IIc")
ROOM, SITE, ENVELOPE, BELOW = b"R", b"S", b"E", b"B"
COMPACT_FROM_BYTES = 1 << 20
"""A file with nothing pending is begun anew when it has grown to this."""


class QueueLockedError(LocalProtocolError):
    """Another process, or another room of this one, has this queue open."""

    code = "queue-locked"


class QueueFile:
    """The queue of one room on disk; one process at a time has it."""

    def __init__(self, path: str | os.PathLike[str], room_name: str) -> None:
        """Open or make it, and lock it.

        Raises:
            QueueLockedError: Somebody else has it open.
            LocalProtocolError: It belongs to another room.
            OSError: It cannot be read or written.
        """
        self.path = Path(path)
        self._room_name = room_name
        self._site = 0
        self._secret = b""
        self._next_counter = 1
        self._envelope_by_counter: dict[int, Envelope] = {}
        self._size = 0
        self._is_dirty = False
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            self._lock()
            self._load()
        except BaseException:
            os.close(self._fd)
            self._fd = -1
            raise

    def _lock(self) -> None:
        if fcntl is None:
            raise LocalProtocolError("offline_queue needs file locks, which this platform does not have here")
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise QueueLockedError(f"{self.path} is in use by another process; give each its own queue") from error

    # -- reading

    def _load(self) -> None:
        with open(self._fd, "rb", closefd=False) as file:
            data = file.read()
        end = 0
        for kind, body, end in _records(data):  # noqa: B007  # the end is used after the loop
            self._take(kind, body)
        if end < len(data):
            os.ftruncate(self._fd, end)
        self._size = end
        os.lseek(self._fd, end, os.SEEK_SET)
        if not end:
            self._append((ROOM, self._room_name.encode()))

    def _take(self, kind: bytes, body: bytes) -> None:
        if kind == ROOM:
            name = body.decode()
            if name != self._room_name:
                raise LocalProtocolError(f"{self.path} is the queue of the room {name!r}, not of {self._room_name!r}")
        elif kind == SITE:
            self._site, self._secret, self._next_counter = int.from_bytes(body[:4], "big"), body[4:], 1
            self._envelope_by_counter.clear()
        elif kind == ENVELOPE:
            envelope = decode_envelope(body)
            self._envelope_by_counter[envelope.counter] = envelope
            self._next_counter = envelope.last_counter + 1
        elif kind == BELOW:
            below = int.from_bytes(body, "big")
            self._next_counter = max(self._next_counter, below)
            for counter in [each for each in self._envelope_by_counter if each < below]:
                del self._envelope_by_counter[counter]
        else:
            raise MalformedFrameError(f"{self.path} has a record of unknown kind {kind!r}; is it from a later version?")

    def stored(self) -> StoredSite | None:
        """The site to resume; None for a new queue."""
        if not self._site:
            return None
        envelopes = tuple(self._envelope_by_counter.values())
        return StoredSite(self._site, self._secret, self._next_counter, envelopes)

    @property
    def site(self) -> int:
        """The site whose edits are here; 0 for none yet."""
        return self._site

    # -- writing

    def begin(self, site: int, secret: bytes, next_counter: int, payloads: Iterable[bytes]) -> None:
        """Start over with a site and the encoded envelopes that it has pending."""
        self._append(
            (SITE, site.to_bytes(4, "big") + secret),
            (BELOW, next_counter.to_bytes(8, "big")),
            *[(ENVELOPE, payload) for payload in payloads],
        )
        self._site, self._secret = site, secret

    def add(self, payload: bytes) -> None:
        """Keep an encoded envelope."""
        self._append((ENVELOPE, payload))

    def answered_below(self, counter: int) -> None:
        """The server has judged every envelope below this counter."""
        self._append((BELOW, counter.to_bytes(8, "big")))

    def compact(self, next_counter: int) -> None:
        """Nothing is pending: begin the file anew when it has grown large."""
        if self._size < COMPACT_FROM_BYTES:
            return
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._size = 0
        self._append((ROOM, self._room_name.encode()))
        self.begin(self._site, self._secret, next_counter, ())

    def _append(self, *records: tuple[bytes, bytes]) -> None:
        """Write records all together; when that fails, the file is as it was."""
        data = b"".join([HEAD.pack(len(body), zlib.crc32(kind + body), kind) + body for kind, body in records])
        written = 0
        try:
            while written < len(data):
                written += os.write(self._fd, data[written:])
        except OSError:
            os.ftruncate(self._fd, self._size)
            os.lseek(self._fd, self._size, os.SEEK_SET)
            raise
        self._size += len(data)
        self._is_dirty = True

    @property
    def is_dirty(self) -> bool:
        """Whether something was written since the last ``sync``."""
        return self._is_dirty

    def sync(self) -> None:
        """Make what was written safe from a power cut. From any thread."""
        self._is_dirty = False
        os.fsync(self._fd)

    def close(self) -> None:
        """Sync, unlock and close; idempotent."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                self.sync()
            os.close(self._fd)
            self._fd = -1


def _records(data: bytes) -> Iterator[tuple[bytes, bytes, int]]:
    """(kind, body, end) of each whole record, up to the first torn one."""
    at = 0
    while at + HEAD.size <= len(data):
        length, crc, kind = HEAD.unpack_from(data, at)
        end = at + HEAD.size + length
        body = data[at + HEAD.size : end]
        if end > len(data) or zlib.crc32(kind + body) != crc:
            return
        yield kind, body, end
        at = end


def decode_envelope(data: bytes) -> Envelope:
    """The envelope that ``wire.ops.envelope_bytes`` encoded.

    Raises:
        MalformedFrameError: There is none.
    """
    return envelope_of(strict.parse(pb.Envelope, data))
