"""The clients' half of the y-protocol, against pycrdt's."""

from __future__ import annotations

import pycrdt
import pytest
from pycrdt import Awareness, Doc, Text, YMessageType

from tests.peers import y_protocol as y

pytestmark = pytest.mark.core


def test_what_a_writer_types_is_read_by_pycrdt():
    doc: Doc[Text] = Doc()
    doc["source"] = text = Text()

    clock = 0
    for mark in ("<0:0>", "<0:1>", "<0:1000>"):
        doc.apply_update(y.append_update(1_000_003, clock, mark))
        clock += len(mark)

    assert str(text) == "<0:0><0:1><0:1000>"
    assert y.clocks(doc.get_state()) == {1_000_003: clock}


def test_frames_are_those_of_pycrdt():
    doc: Doc[Text] = Doc({"source": Text("x" * 300)})
    update = doc.get_update()

    assert y.sync_frame(y.UPDATE, update) == pycrdt.create_update_message(update)
    assert y.sync_frame(y.STEP1, doc.get_state()) == pycrdt.create_sync_message(doc)
    assert y.parse(pycrdt.create_update_message(update)) == (y.SYNC, y.UPDATE, update)


def test_awareness_is_that_of_pycrdt():
    awareness = Awareness(Doc())
    awareness.set_local_state({"user": {"name": "Ann"}})

    message = pycrdt.create_awareness_message(awareness.encode_awareness_update([awareness.client_id]))

    assert message[0] == YMessageType.AWARENESS == y.AWARENESS
    assert y.awareness_states(y.parse(message).body) == {awareness.client_id: {"user": {"name": "Ann"}}}
    frame = y.awareness_frame(7, 1, {"user": {"name": "Bob"}})
    awareness.apply_awareness_update(y.parse(frame).body, "remote")
    assert awareness.states[7] == {"user": {"name": "Bob"}}
