"""A document on its server: judged, applied, encoded, and rebuilt when yrs fails."""

from __future__ import annotations

from typing import Any

import pytest
from pycrdt import Doc, Map, Text

import collabkernel.crdt.yjs.document as document_module
from collabkernel.crdt.yjs.document import YDocument
from collabkernel.crdt.yjs.policy import FILE_POLICY, NOTEBOOK_POLICY
from collabkernel.errors import InvalidValueError, InvalidYjsUpdateError, MalformedFrameError, YjsGapError


class Client:
    """A stock client of a file."""

    def __init__(self, client: int) -> None:
        self.doc: Doc[Any] = Doc(client_id=client)
        self.source = self.doc.get("source", type=Text)
        self.state = self.doc.get("state", type=Map)
        self.updates: list[bytes] = []
        self.doc.observe(lambda event: self.updates.append(event.update))

    def type(self, text: str) -> bytes:
        self.source += text
        return self.updates[-1]


def source(document: YDocument) -> str:
    client = Client(99)
    client.doc.apply_update(document.encode_state())
    return str(client.source)


@pytest.fixture
def document() -> YDocument:
    return YDocument(FILE_POLICY, 1)


def test_an_update_is_judged_and_applied(document: YDocument):
    change = document.check(Client(7).type("hi"))

    assert (change.clients, change.is_new, source(document)) == ({7}, True, "")
    document.apply(change)
    assert (source(document), document.state_vector()) == ("hi", b"\x01\x07\x02")


def test_what_is_known_is_not_new(document: YDocument):
    update = Client(7).type("hi")
    document.apply(document.check(update))

    again = document.check(update)
    document.apply(again)

    assert (again.is_new, again.clients, again.update) == (False, frozenset(), b"\x00\x00")
    assert not document.check(b"\x00\x00").is_new


def test_a_gap_asks_for_more(document: YDocument):
    client = Client(7)
    client.type("hi")

    with pytest.raises(YjsGapError):
        document.check(client.type("!"))


def test_a_change_may_be_applied_after_another_was_judged(document: YDocument):
    one, two = document.check(Client(7).type("hi")), document.check(Client(8).type("ho"))

    document.apply(one)
    document.apply(two)

    assert sorted(source(document)) == ["h", "h", "i", "o"]


def test_a_stored_log_is_folded(document: YDocument, monkeypatch: pytest.MonkeyPatch):
    client = Client(7)
    log = [client.type(text) for text in ("a", "b", "c")]

    document.apply_stored(log[:2])
    document.apply(document.check(log[2]))
    monkeypatch.setattr(document_module, "RELEARN_UPDATES_MIN", 1)
    twin = YDocument(FILE_POLICY, 2)
    twin.apply_stored(log)

    assert source(document) == source(twin) == "abc"
    assert document.state_vector() == twin.state_vector() == b"\x01\x07\x03"
    assert not twin.check(log[2]).is_new


def test_a_stored_log_that_yrs_refuses_leaves_the_document_as_it_was(document: YDocument):
    client = Client(7)
    document.apply(document.check(client.type("a")))

    with pytest.raises(InvalidYjsUpdateError):
        document.apply_stored([client.type("b"), b"\x01"])

    assert source(document) == "a"
    assert document.state_vector() == b"\x01\x07\x01"


def test_a_state_makes_the_same_document(document: YDocument):
    document.apply(document.check(Client(7).type("a😀b")))

    twin = YDocument(FILE_POLICY, 2, document.encode_state())

    assert twin.encode_state() == document.encode_state()
    assert twin.size_bytes >= len(twin.encode_state())
    with pytest.raises(InvalidYjsUpdateError):
        YDocument(FILE_POLICY, 2, b"\x01")


def test_a_state_is_encoded_once_a_change(document: YDocument):
    document.apply(document.check(Client(7).type("hi")))

    assert document.encode_state() is document.encode_state()


def test_what_somebody_lacks_is_told(document: YDocument):
    client = Client(7)
    first = client.type("a😀")
    document.apply(document.check(first))
    document.apply(document.check(client.type("b")))
    reader = Client(8)
    reader.doc.apply_update(first)

    reader.doc.apply_update(document.missing(reader.doc.get_state()))

    assert str(reader.source) == "a😀b"
    assert document.missing(b"\x00") == document.encode_state()


@pytest.mark.parametrize("vector", [b"\x01\x07\x02", b"\x01\x07\xff\xff\xff\xff\x0f", b"\x02\x07\x03\x63\x05"])
def test_a_strange_state_vector_gets_a_sound_answer(document: YDocument, vector: bytes):
    document.apply(document.check(Client(7).type("a😀b")))

    answer = document.missing(vector)

    assert not document.check(answer).is_new


@pytest.mark.parametrize("vector", [b"", b"\x01", b"\x01\x07", b"\x00\x00", b"\x01\x07\x80"])
def test_a_malformed_state_vector_is_refused(document: YDocument, vector: bytes):
    with pytest.raises(MalformedFrameError):
        document.missing(vector)


def test_a_map_is_set_where_it_differs(document: YDocument):
    update = document.set_map("state", {"path": "a.py", "dirty": True, "n": 1, "x": [1, {"y": None}]})
    again = document.set_map("state", {"path": "a.py", "n": 1})

    reader = Client(8)
    reader.doc.apply_update(update)
    assert reader.state.to_py() == document.map_json("state")
    assert document.map_json("state") == {"path": "a.py", "dirty": True, "n": 1.0, "x": [1.0, {"y": None}]}
    assert again == b""
    assert not document.check(update).is_new
    assert document.set_map("state", {"dirty": 1}) != b"", "1 is not True"


@pytest.mark.parametrize("value", [object(), 2**60, {"a": b"x"}, "\ud800"])
def test_a_map_holds_json(document: YDocument, value: Any):
    with pytest.raises(InvalidValueError):
        document.set_map("state", {"k": value})

    assert document.map_json("state") == {}
    assert document.set_map("state", {"k": 1}) != b""


def test_own_edits_that_are_too_deep_are_taken_back(document: YDocument):
    deep: Any = 1
    for _ in range(300):
        deep = [deep]

    with pytest.raises(InvalidValueError):
        document.set_map("state", {"k": deep})

    assert document.map_json("state") == {}


@pytest.mark.interpreted
def test_when_yrs_fails_the_document_is_rebuilt(document: YDocument, monkeypatch: pytest.MonkeyPatch):
    client = Client(7)
    document.apply(document.check(client.type("a")))
    change = document.check(client.type("b"))

    with monkeypatch.context() as patch:
        real, calls = document_module.apply_to, []

        def fail_once(doc: Doc[Any], update: bytes) -> None:
            calls.append(update)
            if len(calls) == 1:
                raise InvalidYjsUpdateError("yrs panics")
            real(doc, update)

        patch.setattr(document_module, "apply_to", fail_once)
        with pytest.raises(InvalidYjsUpdateError):
            document.apply(change)

    assert source(document) == "a"
    document.apply(document.check(change.update))
    assert source(document) == "ab"


@pytest.mark.heavy
def test_what_a_rebuild_needs_stays_bounded(document: YDocument):
    client = Client(7)
    for _ in range(3000):
        document.apply(document.check(client.type("x")))

    assert document.size_bytes < 100_000
    assert source(document) == "x" * 3000


def test_a_notebook_is_no_file():
    with pytest.raises(InvalidYjsUpdateError, match="root 'source'"):
        YDocument(NOTEBOOK_POLICY, 1).check(Client(7).type("hi"))
