"""Blocks on their way in: judged when they are stored, in the order of the log, whoever's they are."""

from __future__ import annotations

import pytest

from collabkernel.crdt.ids import ROOT, OpId, Slot
from collabkernel.crdt.order_key import key_between
from collabkernel.document.operations import (
    BlockInsert,
    BlockMove,
    Envelope,
    NewDocument,
    Op,
    StoredEnvelope,
    document_id,
)
from collabkernel.room.events import OpsPublished
from collabkernel.wire.frames import ops_part
from tests.room.drive import HLC0, Driver, envelope

pytestmark = pytest.mark.core

BODY = document_id("body")
ANN = 101
KEYS = [key_between(None, None, ANN)]
KEYS.append(key_between(KEYS[0], None, ANN))
MAKING: tuple[Op, ...] = (
    NewDocument(ROOT, "body"),
    *[BlockInsert(BODY, Slot.CHILD, key, "paragraph") for key in KEYS],
)
FIRST, SECOND = OpId(ANN, 2), OpId(ANN, 3)


def order(world: Driver) -> list[OpId]:
    """The blocks of the document as this room has them."""
    blocks = world.room._state.blocks
    assert blocks is not None
    return list(blocks.tree.in_order(BODY)) if BODY in blocks.tree else []


def test_a_place_is_judged_when_it_is_stored() -> None:
    world = Driver(answers_log=False)
    ann = world.join()
    world.submit(ann, envelope(1, *MAKING))
    assert order(world) == []

    world.answer_log()
    assert order(world) == [FIRST, SECOND]


def test_what_another_server_stored_first_is_judged_first() -> None:
    world = Driver(answers_log=False)
    ann = world.join()
    world.submit(ann, envelope(1, *MAKING))
    world.answer_log()
    before = key_between(None, KEYS[0], ANN)
    world.submit(ann, envelope(4, BlockMove(SECOND, BODY, Slot.CHILD, before), base=3))
    after = BlockMove(SECOND, BODY, Slot.CHILD, key_between(KEYS[1], None, 7))
    foreign = StoredEnvelope(4, 7, "bob", Envelope(1, 3, HLC0 + 50, (after,)))

    world.feed(OpsPublished(4, 4, ops_part([foreign])))
    world.head = 4
    world.answer_log()

    assert order(world) == [FIRST, SECOND]
    assert world.room.head == 5


def test_a_refused_envelope_leaves_no_block() -> None:
    world = Driver()
    ann = world.join()
    world.submit(ann, envelope(1, *MAKING))
    size_bytes = world.room.size_bytes
    key = key_between(KEYS[1], None, ANN)
    stranger = key_between(None, None, 9)

    world.submit(
        ann, envelope(4, BlockInsert(BODY, Slot.CHILD, key, "code"), BlockMove(FIRST, BODY, Slot.CHILD, stranger))
    )
    world.submit(ann, envelope(6, BlockInsert(OpId(5, 5), Slot.CHILD, key, "code")))

    assert [code for _, code, _ in world.rejects(ann)] == ["invalid-operation", "unknown-reference"]
    assert order(world) == [FIRST, SECOND]
    assert world.room.size_bytes == size_bytes
