"""What clients say is what their servers and libraries read."""

from __future__ import annotations

import json

import pytest
from pycrdt import Awareness, Doc, Text

from tests.benchmarks.editors_dialects import CLIENT_ID, dialect
from tests.peers import y_protocol as y
from tests.peers.node_servers import HOCUSPOCUS, LIVEBLOCKS, TLDRAW, Y_WEBSOCKET
from tests.peers.servers import OURS

pytestmark = pytest.mark.core
NAME = b"\x06shared"


def test_a_client_types_behind_its_own_last_mark():
    speech = dialect(Y_WEBSOCKET, 2)
    doc: Doc[Text] = Doc()
    doc["source"] = text = Text()

    for client, number in ((0, 1), (1, 2), (0, 13)):
        doc.apply_update(y.parse(speech.edit(client, number)).body)

    assert str(text) == "<1><13><2>"
    assert y.clocks(doc.get_state()) == {CLIENT_ID: 7, CLIENT_ID + 1: 3}


def test_a_cursor_is_an_awareness_state_that_pycrdt_reads():
    speech, awareness = dialect(Y_WEBSOCKET, 1), Awareness(Doc())

    for number in (1, 2):
        awareness.apply_awareness_update(y.parse(speech.cursor(0, number)).body, "remote")

    assert awareness.states[CLIENT_ID]["cursor"]["head"] == "<2>"


def test_hocuspocus_has_its_document_named_in_each_frame():
    speech = dialect(HOCUSPOCUS, 1)

    token, question = speech.hello(0)

    assert token == NAME + b"\x02\x00\x05token"
    assert question == NAME + b"\x00\x00\x01\x00"
    assert speech.is_state(NAME + b"\x00\x01\x02\x00\x00")
    assert not speech.is_state(NAME + b"\x00\x02\x02\x00\x00")
    assert speech.answer(NAME + b"\x04\x00\x01\x00") == NAME + b"\x00\x01\x02\x00\x00"


def test_a_sync_status_answers_the_oldest_update():
    speech, status = dialect(HOCUSPOCUS, 2), NAME + b"\x08\x01"
    for client, number in ((0, 5), (1, 6), (0, 7)):
        speech.edit(client, number)

    assert [list(speech.acked(client, status)) for client in (0, 0, 0, 1)] == [[5], [7], [], [6]]


def test_ours_acknowledges_by_the_echo_and_the_protocol_alone_by_nothing():
    frame = dialect(OURS, 1).edit(0, 3)

    assert list(dialect(OURS, 1).acked(0, frame)) == [3]
    assert list(dialect(Y_WEBSOCKET, 1).acked(0, frame)) == []


def test_marks_of_liveblocks_are_found_in_base_64_and_in_cursors():
    speech = dialect(LIVEBLOCKS, 1)

    assert list(speech.marks(speech.edit(0, 17))) == [17]
    assert list(speech.marks(speech.cursor(0, 18))) == [18]


def test_a_push_result_answers_the_push_of_its_clock():
    speech = dialect(TLDRAW, 1, {"schemaVersion": 2})
    clocks = [json.loads(speech.edit(0, number))["clientClock"] for number in (4, 9)]
    result = {"type": "push_result", "clientClock": clocks[1], "serverClock": 1, "action": "commit"}

    assert list(speech.acked(0, json.dumps({"type": "data", "data": [result]}).encode())) == [9]
    assert list(speech.acked(0, json.dumps({**result, "clientClock": clocks[0]}).encode())) == [4]
    assert json.loads(speech.hello(0)[0])["schema"] == {"schemaVersion": 2}


def test_tldraws_large_document_comes_in_parts():
    speech = dialect(TLDRAW, 1)

    pushes = [json.loads(push)["diff"] for push in speech.large(json.dumps(["x"] * 100).encode())]

    assert [len(diff) for diff in pushes] == [64, 36]
