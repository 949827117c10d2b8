"""What a server needs to tell others what it has stored: channels by room, lossy, in a publisher's order."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from collabkernel.errors import MalformedFrameError

_HEADER = struct.Struct(">B16sQQ")
_OPS_STORED = 1
_EPHEMERAL_HEADER = struct.Struct(">B16sB")
_EPHEMERAL = 2
_DELETED_HEADER = struct.Struct(">B16s")
_DELETED = 3


@dataclass(frozen=True, slots=True)
class OpsStoredMessage:
    """Operations that a server has stored, for the other servers that hold a replica of the room.

    Layout, big-endian:

    ====== ===== ==========================================================
    offset bytes
    ====== ===== ==========================================================
    0      1     1, the kind
    1      16    ``origin``
    17     8     ``first_seq``
    25     8     ``last_seq``
    33     ...   ``parts``: encoded ops of a server frame (``wire.frames``)
    ====== ===== ==========================================================
    """

    origin: bytes
    """16 bytes that name the server; it passes over its own messages."""
    first_seq: int
    last_seq: int
    """Both inclusive. A receiver whose log ends before ``first_seq - 1`` reads what is between from storage."""
    parts: bytes

    def encode(self) -> bytes:
        """The message for ``Bus.publish``."""
        assert len(self.origin) == 16, "an origin is 16 bytes"
        assert 1 <= self.first_seq <= self.last_seq, "a message has operations"
        return _HEADER.pack(_OPS_STORED, self.origin, self.first_seq, self.last_seq) + self.parts

    @classmethod
    def decode(cls, message: bytes) -> OpsStoredMessage:
        """The message that a subscriber got.

        Raises:
            MalformedFrameError: If it is none.
        """
        if len(message) < _HEADER.size:
            raise MalformedFrameError(f"a bus message of {len(message)} bytes is shorter than its header")
        kind, origin, first_seq, last_seq = _HEADER.unpack_from(message)
        if kind != _OPS_STORED:
            raise MalformedFrameError(f"a bus message of kind {kind}, where {_OPS_STORED} tells of operations")
        if not 1 <= first_seq <= last_seq:
            raise MalformedFrameError(f"a bus message with seqs {first_seq} to {last_seq}")
        return cls(origin, first_seq, last_seq, message[_HEADER.size :])


@dataclass(frozen=True, slots=True)
class EphemeralMessage:
    """What a server's sessions show and broadcast: for the moment, and nowhere stored.

    Layout, big-endian:

    ====== ===== ==========================================================
    offset bytes
    ====== ===== ==========================================================
    0      1     2, the kind
    1      16    ``origin``
    17     1     1 if ``is_asking``, else 0
    18     ...   ``parts``: presence and events of a server frame, or a frame of Yjs awareness
    ====== ===== ==========================================================
    """

    origin: bytes
    """16 bytes that name the server; it passes over its own messages."""
    is_asking: bool
    """The others are to tell what their sessions show."""
    parts: bytes

    def encode(self) -> bytes:
        """The message for ``Bus.publish``."""
        assert len(self.origin) == 16, "an origin is 16 bytes"
        return _EPHEMERAL_HEADER.pack(_EPHEMERAL, self.origin, self.is_asking) + self.parts

    @classmethod
    def decode(cls, message: bytes) -> EphemeralMessage:
        """The message that a subscriber got.

        Raises:
            MalformedFrameError: If it is none.
        """
        if len(message) < _EPHEMERAL_HEADER.size:
            raise MalformedFrameError(f"a bus message of {len(message)} bytes is shorter than its header")
        kind, origin, is_asking = _EPHEMERAL_HEADER.unpack_from(message)
        if kind != _EPHEMERAL or is_asking > 1:
            raise MalformedFrameError(f"a bus message of kind {kind} that asks {is_asking}")
        return cls(origin, bool(is_asking), message[_EPHEMERAL_HEADER.size :])


@dataclass(frozen=True, slots=True)
class DeletedMessage:
    """The room was deleted: 3, the kind, and ``origin`` in 16 bytes."""

    origin: bytes

    def encode(self) -> bytes:
        """The message for ``Bus.publish``."""
        assert len(self.origin) == 16, "an origin is 16 bytes"
        return _DELETED_HEADER.pack(_DELETED, self.origin)

    @classmethod
    def decode(cls, message: bytes) -> DeletedMessage:
        """The message that a subscriber got.

        Raises:
            MalformedFrameError: If it is none.
        """
        size = _DELETED_HEADER.size
        if len(message) != size or message[0] != _DELETED:
            raise MalformedFrameError(f"a bus message of {len(message)} bytes, where {size} tell of a delete")
        return cls(message[1:])


def decode_message(message: bytes) -> OpsStoredMessage | EphemeralMessage | DeletedMessage:
    """The message that a subscriber got, of any kind.

    Raises:
        MalformedFrameError: If it is none.
    """
    kind = message[0] if message else 0
    if kind == _EPHEMERAL:
        return EphemeralMessage.decode(message)
    return DeletedMessage.decode(message) if kind == _DELETED else OpsStoredMessage.decode(message)


@dataclass(frozen=True, slots=True, eq=False)
class Subscription:
    """One subscriber of one room; ``Bus.unsubscribe`` ends it."""

    room_id: str
    on_message: Callable[[bytes], None]
    """Called with each message, in the order of its publisher."""
    on_gap: Callable[[], None]
    """Called when messages may have been lost: the log has what they said."""


class Bus(Protocol):
    """Fan-out between servers. Nothing that must not be lost goes over it: storage has the log.

    Every subscriber of a room gets every message of every publisher, its own server's too, from the moment that
    ``subscribe`` returns. A publisher's messages arrive in order, none twice. A message may be lost (a slow subscriber,
    a lost connection); the subscriber's ``on_gap`` is then called, before any later message. Both callbacks run on the
    event loop, never inside ``publish`` or ``subscribe``, and must not block.

    ``memory.MemoryBus`` is the twin for one process. The suite ``tests/contract/test_bus.py`` holds for all.
    """

    async def open(self) -> None:
        """Connect."""

    async def close(self) -> None:
        """End all subscriptions and disconnect; nothing is delivered afterwards."""

    def publish(self, room_id: str, message: bytes) -> None:
        """Hand a message to every subscriber of the room; it may be lost. Waits for nobody."""

    async def subscribe(
        self, room_id: str, on_message: Callable[[bytes], None], on_gap: Callable[[], None]
    ) -> Subscription:
        """Subscribe to a room."""

    async def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription; nothing is delivered to it afterwards. Ending it twice is fine."""
