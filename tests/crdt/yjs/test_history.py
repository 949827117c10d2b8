"""The validator of documents: what stock clients send passes, cut to what is new; gaps are told from harm."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycrdt import Doc, Text

from collabkernel.crdt.yjs.history import YjsHistory
from collabkernel.crdt.yjs.parse import decode_vector, write_uint
from collabkernel.crdt.yjs.policy import FILE_POLICY, NOTEBOOK_POLICY
from collabkernel.crdt.yjs.structs import NOTHING
from collabkernel.errors import InvalidYjsUpdateError, YjsGapError
from tests.crdt.yjs.notebook_replica import NotebookReplica
from tests.examples import examples

SOURCE = b"\x01\x06source"


def typed(client: int, clock: int, text: str, origin: tuple[int, int] | None = None) -> bytes:
    """A client's part of an update with one string."""
    raw = text.encode()
    where = b"\x84" + write_uint(origin[0]) + write_uint(origin[1]) if origin else b"\x04" + SOURCE
    return b"\x01" + write_uint(client) + write_uint(clock) + where + write_uint(len(raw)) + raw


def update(*clients: bytes, deletes: bytes = b"\x00") -> bytes:
    return write_uint(len(clients)) + b"".join(clients) + deletes


@pytest.fixture
def history() -> YjsHistory:
    """A file with 'hello 😀 world' by client 1."""
    found = YjsHistory(FILE_POLICY)
    found.commit(found.check(update(typed(1, 0, "hello 😀 world"))))
    return found


def test_several_clients_come_in_any_order(history: YjsHistory):
    news = history.check(update(typed(3, 0, "a", (2, 1)), typed(2, 0, "xy", (1, 13))))

    assert news.clocks == {3: 1, 2: 2}


def test_known_structs_and_deletes_are_dropped(history: YjsHistory):
    history.commit(history.check(update(deletes=b"\x01\x01\x01\x00\x02")))

    again = history.check(update(typed(1, 0, "hello 😀 world"), deletes=b"\x01\x01\x01\x00\x02"))
    more = history.check(update(typed(1, 0, "HELLO 😀 WORLD!"), typed(2, 0, "x"), deletes=b"\x01\x01\x01\x01\x03"))

    assert (again.update, again.clocks) == (NOTHING, {})
    assert more.update == update(typed(1, 14, "!", (1, 13)), typed(2, 0, "x"), deletes=b"\x01\x01\x01\x02\x02")


def test_an_empty_update_brings_nothing(history: YjsHistory):
    assert history.check(NOTHING).update == NOTHING


@pytest.mark.parametrize(
    "hostile",
    [
        update(typed(1, 15, "x")),
        update(typed(2, 1, "x")),
        update(typed(2, 0, "x", (1, 14))),
        update(typed(2, 0, "x", (9, 0))),
        update(b"\x01\x02\x00\x04\x00\x09\x00\x01x"),
        update(b"\x01\x02\x00\x44\x01\x0e\x01x"),
        update(deletes=b"\x01\x01\x01\x0e\x01"),
        update(deletes=b"\x01\x09\x01\x00\x01"),
        update(b"\x02\x01\x0e\x0a\x05\x84\x01\x12\x01x"),
        update(b"\x01\x01\x0e\x0a\x05"),
    ],
)
def test_what_continues_something_unknown_is_a_gap(history: YjsHistory, hostile: bytes):
    with pytest.raises(YjsGapError) as refused:
        history.check(hostile)

    assert refused.value.code == "yjs-gap"


@pytest.mark.parametrize(
    ("hostile", "reason"),
    [
        (update(typed(2, 0, "x", (3, 0)), typed(3, 0, "x", (2, 0))), "wait for one another"),
        (update(typed(2, 0, "x", (2, 0))), "wait for one another"),
        (update(typed(2, 0, "x", (1, 6))), "an origin cuts a surrogate pair"),
        (update(deletes=b"\x01\x01\x01\x06\x01"), "a delete range cuts a surrogate pair"),
        (update(typed(1, 0, "hello world..😀")), "what is known of a struct cuts a surrogate pair"),
        (update(b"\x01\x01\x0d\x05\x01\x06source\x02{}\x85\x01\x0d\x02{}"), "behind|ends|content"),
        (update(b"\x01\x02\x00\xc4\x01\x05\x01\x01\x01x"), "cannot have been neighbours"),
    ],
)
def test_what_would_hurt_is_no_gap(history: YjsHistory, hostile: bytes, reason: str):
    with pytest.raises(InvalidYjsUpdateError, match=reason) as refused:
        history.check(hostile)

    assert refused.value.code == ("split-pair" if "surrogate pair" in reason else "invalid-yjs-update")


def test_a_skip_over_known_clocks_is_none(history: YjsHistory):
    news = history.check(update(b"\x02\x01\x00\x0a\x0e\x84\x01\x0d\x01!"))

    assert news.update == update(typed(1, 14, "!", (1, 13)))


def test_a_refusal_changes_nothing(history: YjsHistory):
    for text in ("x", "y"):
        with pytest.raises(InvalidYjsUpdateError):
            history.check(update(typed(3, 0, text, (1, 2)), typed(2, 0, text, (1, 6))))

    assert history.check(update(typed(3, 0, "z", (1, 2)))).clocks == {3: 1}


def reconnecting(rng: random.Random, replica: NotebookReplica, server: Doc[Any]) -> bytes:
    """What a client answers to step 1, sometimes of an older server: structs and deletes that are known, too."""
    if rng.random() < 0.5:
        return replica.doc.get_update()
    return replica.doc.get_update(server.get_state())


@examples(40)
@given(rng=st.randoms(use_true_random=False))
def test_honest_notebooks_pass_however_they_come(rng: random.Random):
    """Clients edit, talk to one another behind the server's back, and send single updates or all that they have."""
    replicas = [NotebookReplica(client) for client in (9, 4, 2**52)]
    server: Doc[Any] = Doc()
    twin = NotebookReplica(1)
    history = YjsHistory(NOTEBOOK_POLICY)
    for _ in range(30):
        replica = rng.choice(replicas)
        sent = replica.edit(rng)
        if rng.random() < 0.5:
            sent = reconnecting(rng, replica, server)
        with contextlib.suppress(YjsGapError):
            news = history.check(sent or NOTHING)
            server.apply_update(news.update)
            history.commit(news)
            twin.doc.apply_update(news.update)
        if rng.random() < 0.4:
            rng.choice(replicas).doc.apply_update(replica.doc.get_update())
    for replica in replicas:
        news = history.check(reconnecting(rng, replica, server))
        server.apply_update(news.update)
        history.commit(news)
        twin.doc.apply_update(news.update)

    whole = NotebookReplica(2)
    for replica in replicas:
        whole.doc.apply_update(replica.doc.get_update())
    assert twin.to_py() == whole.to_py()
    assert history.clocks == decode_vector(server.get_state())
    reloaded = YjsHistory(NOTEBOOK_POLICY)
    reloaded.load(server.get_update())
    assert reloaded.clocks == history.clocks
    assert reloaded.check(whole.doc.get_update()).update == NOTHING


def test_a_text_typed_by_many_is_loaded():
    doc: Doc[Any] = Doc(client_id=5)
    doc.get("source", type=Text).insert(0, "x😀")
    history = YjsHistory(FILE_POLICY)

    history.load(doc.get_update())

    assert history.clocks == {5: 3}
    assert history.splits_pair(5, 2)


@examples(300)
@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(data: bytes):
    history = YjsHistory(NOTEBOOK_POLICY)

    with contextlib.suppress(InvalidYjsUpdateError):
        history.check(data)
