"""Frames written by hand are those of the codec, and what they type is text."""

from __future__ import annotations

from collabkernel.crdt.ids import OpId
from collabkernel.crdt.text import TextRope
from collabkernel.crdt.yjs.policy import ROPE_POLICY
from collabkernel.document.operations import Envelope, MapSet, TextEdit
from collabkernel.limits import Limits
from collabkernel.wire.codec import decode_client_message
from collabkernel.wire.messages import Presence, Submit, Viewport
from tests.benchmarks import editors_seed_frames as frames

AUTHOR, SITE, BLOCK = 3_735_928_559, 77, (3_735_928_559, 300)
HLC = 1_795_000_000_000 << 16


def test_what_is_typed_stands_between_two_letters_and_goes_on_behind_itself() -> None:
    author = TextRope(AUTHOR, policy=ROPE_POLICY)
    rope = TextRope(SITE, policy=ROPE_POLICY)
    rope.apply(author.insert(0, "abcd"), AUTHOR)

    rope.apply(frames.typed(SITE, 0, (AUTHOR, 1), (AUTHOR, 2), "the "), SITE)
    rope.apply(frames.typed(SITE, 4, (SITE, 3), (AUTHOR, 2), "end "), SITE)

    assert rope.text == "abthe end cd"


def test_frames_are_read_as_what_they_mean() -> None:
    update = frames.typed(SITE, 0, (AUTHOR, 1), (AUTHOR, 2), "of ")
    ops = [frames.text_op(BLOCK, update), frames.property_op(BLOCK, 70)]

    def read(frame: bytes) -> object:
        return decode_client_message(frame, Limits())

    target = OpId(*BLOCK)
    envelope = Envelope(5, 9, HLC, (TextEdit(target, update), MapSet(target, "done", 70)))
    assert read(frames.submit(5, 9, HLC, ops)) == Submit((envelope,))
    assert read(frames.submit(5, 0, HLC, ops)) == Submit((Envelope(5, 0, HLC, envelope.ops),))
    assert read(frames.presence(BLOCK, '{"a":1}')) == Presence('{"a":1}', target)
    assert read(frames.viewport([(*BLOCK, 30)] * 50)) == Viewport((target,) * 50)


def test_fields_are_told_with_their_places() -> None:
    data = b"\x58\xac\x02" + b"\x22\x03abc" + b"\x58\x07"

    found = list(frames.fields(data))

    assert found == [(11, 300, -1), (4, 5, 8), (11, 7, -1)]
    assert data[5:8] == b"abc"
