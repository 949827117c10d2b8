"""What clients send all the time, read by hand: envelopes, cursors and viewports; as ``fast_reader`` tells."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from collabkernel.crdt.ids import OpId
from collabkernel.limits import COUNTER_MAX, VIEWPORT_BLOCKS_MAX
from collabkernel.wire import fast_reader, strict
from collabkernel.wire.messages import Presence, Submit, Viewport

IDS_KEPT: Final = 10_000
"""Ids of blocks that are known by their bytes: those of a few long documents, of some 150 bytes each."""
PADDING: Final = bytes(8)
"""The reader looks so far behind the first byte of an id."""


def read_client_message(frame: bytes) -> Submit | Presence | Viewport:
    """The message of a frame that clients send all the time; may raise any of ``NOT_READ``.

    Raises:
        MalformedFrameError: It is a presence that is no JSON.
    """
    tag = frame[0]
    if tag == 0x12:
        return Submit(fast_reader.read_submit(frame))
    if tag == 0x1A:
        return _read_presence(frame)
    if tag == 0x32:
        return _read_viewport(frame)
    raise fast_reader.UnusualError


def _read_presence(frame: bytes) -> Presence:
    end = len(frame)
    text, at = fast_reader.read_name(frame, fast_reader.read_sized(frame, 0, end, 0x1A), 0x0A)
    block = None
    if at < end:
        at = fast_reader.read_sized(frame, at, end, 0x12)
        block = _read_container_id(frame[at:end])
    elif at > end:
        raise fast_reader.UnusualError
    return Presence(strict.check_json(text, "presence", must_be_object=True), block)


def _read_viewport(frame: bytes) -> Viewport:
    end = len(frame)
    at = fast_reader.read_sized(frame, 0, end, 0x32)
    blocks = []
    while at < end:
        if frame[at] != 0x0A:
            raise fast_reader.UnusualError
        id_at = at + 2
        at = id_at + frame[at + 1]
        blocks.append(_read_container_id(frame[id_at:at]))
    if at != end or len(blocks) > VIEWPORT_BLOCKS_MAX:
        raise fast_reader.UnusualError
    return Viewport(tuple(blocks))


@lru_cache(maxsize=IDS_KEPT)
def _read_container_id(body: bytes) -> OpId:
    """The body of an OpId of a container; the same few are named again and again."""
    if body[0] == 0x10:
        counter, at = fast_reader.read_varint(body, 1)
        if at == len(body) and 0 < counter <= COUNTER_MAX:
            return OpId(0, counter)
        raise fast_reader.UnusualError
    return fast_reader.read_op_id(body + PADDING, 0, len(body))
