"""Containers of nested documents: content fits its container, neighbours share one, and depth is bounded."""

from __future__ import annotations

import pytest

from collabkernel.crdt.yjs.history import YjsHistory
from collabkernel.crdt.yjs.parse import write_uint
from collabkernel.crdt.yjs.policy import ARRAY, MAP, NOTEBOOK_POLICY, TEXT
from collabkernel.errors import InvalidYjsUpdateError

CELLS, META = b"\x01\x05cells", b"\x01\x04meta"


def under(client: int, clock: int) -> bytes:
    return b"\x00" + write_uint(client) + write_uint(clock)


def update(clock: int, *structs: bytes, client: int = 1, deletes: bytes = b"\x00") -> bytes:
    return b"\x01" + write_uint(len(structs)) + write_uint(client) + write_uint(clock) + b"".join(structs) + deletes


def container(parent: bytes, kind: int) -> bytes:
    return b"\x07" + parent + write_uint(kind)


def value(parent: bytes) -> bytes:
    return b"\x08" + parent + b"\x01\x7e"


def entry(parent: bytes, key: bytes = b"k") -> bytes:
    return b"\x28" + parent + write_uint(len(key)) + key + b"\x01\x7e"


@pytest.fixture
def notebook() -> YjsHistory:
    """Client 1: an array of a map (clock 0), a text (1), an array (2) and a value (3); an entry in the map (4)."""
    state = YjsHistory(NOTEBOOK_POLICY)
    structs = (
        container(CELLS, MAP),
        b"\x87\x01\x00\x02",
        b"\x87\x01\x01\x00",
        b"\x88\x01\x02\x01\x7e",
        entry(under(1, 0)),
    )
    state.commit(state.check(update(0, *structs)))
    return state


@pytest.mark.parametrize(
    "struct",
    [
        entry(under(1, 0)),
        entry(META),
        b"\x04" + under(1, 1) + b"\x01a",
        b"\x06" + under(1, 1) + b"\x01b\x04true",
        value(under(1, 2)),
        b"\xc8\x01\x00\x01\x01\x01\x7e",
        b"\xa8\x01\x04\x01\x7e",
        b"\x03" + CELLS + b"\x01x",
        b"\x00\x05",
    ],
)
def test_content_that_fits_is_let_through(notebook: YjsHistory, struct: bytes):
    notebook.check(update(0, struct, client=2))


@pytest.mark.parametrize(
    ("struct", "reason"),
    [
        (value(under(1, 0)), "without a key in a map"),
        (entry(under(1, 2)), "with a key in an array"),
        (value(under(1, 1)), "Any may not be in a text"),
        (b"\x04" + CELLS + b"\x01a", "String may not be in an array"),
        (value(under(1, 3)), "clock 3 of client 1 is no container"),
        (value(under(1, 9)), "a parent names clock 9"),
        (b"\xc8\x01\x04\x01\x03\x01\x7e", "in different containers"),
        (b"\x28" + META + b"\x01k\x02\x7e\x7e", "2 values under one key"),
        (container(CELLS, 3), "container of type 3"),
        (value(b"\x01\x05other"), "root 'other'"),
        (b"\x0a\x05", "are skipped"),
    ],
)
def test_content_that_does_not_fit_is_refused(notebook: YjsHistory, struct: bytes, reason: str):
    with pytest.raises(InvalidYjsUpdateError, match=reason):
        notebook.check(update(0, struct, client=2))


def test_depth_is_bounded():
    state = YjsHistory(NOTEBOOK_POLICY)
    nested = [container(CELLS, ARRAY)] + [container(under(1, clock), ARRAY) for clock in range(64)]

    state.check(update(0, *nested[:64]))
    with pytest.raises(InvalidYjsUpdateError, match="nested over 64 levels"):
        state.check(update(0, *nested))


def test_what_was_inside_a_collected_container_may_still_be_named():
    state = YjsHistory(NOTEBOOK_POLICY)
    stored = update(0, b"\x01" + CELLS + b"\x01", b"\x00\x03", client=1, deletes=b"\x01\x01\x01\x00\x04")
    state.load(stored)

    state.check(update(0, value(under(1, 0)), b"\x88\x01\x02\x01\x7e", b"\x84\x02\x00\x01a", client=2))


def test_containers_of_one_update_are_known_within_it():
    state = YjsHistory(NOTEBOOK_POLICY)

    found = state.check(update(0, container(CELLS, TEXT), b"\x04" + under(1, 0) + b"\x02hi"))

    assert dict(found.containers) == {(1, 0): (TEXT, 1)}


def test_what_is_beside_an_item_of_a_collected_container_is_collected_too(notebook: YjsHistory):
    notebook.commit(notebook.check(b"\x00\x01\x01\x01\x00\x01"))
    collected = update(5, b"\x00\x01")
    notebook.commit(notebook.check(collected))

    found = notebook.check(update(0, b"\xe8\x01\x04\x01\x05\x01\x7e", client=2))

    assert [place.owner for place in found.places[2].places] == [None]


def test_a_living_item_is_no_neighbour_of_a_collected_one(notebook: YjsHistory):
    notebook.commit(notebook.check(update(5, b"\x00\x01")))

    with pytest.raises(InvalidYjsUpdateError, match="not both in a collected container"):
        notebook.check(update(0, b"\xe8\x01\x04\x01\x05\x01\x7e", client=2))
