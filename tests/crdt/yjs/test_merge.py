"""Putting stored updates together: what many were is what one is."""

from __future__ import annotations

import pytest
from pycrdt import Doc, Text

from collabkernel.crdt.yjs.merge import MERGE_MAX, clients_of, folded, merged
from collabkernel.errors import InvalidYjsUpdateError


def typed(client: int, words: list[str], base: bytes = b"\0\0") -> list[bytes]:
    doc: Doc[Text] = Doc(client_id=client)
    doc.apply_update(base)
    text = doc.get("source", type=Text)
    updates = []
    for word in words:
        before = doc.get_state()
        text += word
        updates.append(doc.get_update(before))
    return updates


def text_of(updates: list[bytes]) -> str:
    doc: Doc[Text] = Doc()
    for update in updates:
        doc.apply_update(update)
    return str(doc.get("source", type=Text))


@pytest.mark.parametrize("count", [0, 1, 2, MERGE_MAX, 2 * MERGE_MAX + 1])
def test_merged_updates_say_the_same_in_few_frames(count):
    updates = typed(5, [f"{n} " for n in range(count)])

    frames = list(merged(updates))

    assert len(frames) == -(-count // MERGE_MAX)
    assert text_of(frames) == text_of(updates)


def test_one_update_is_passed_on_as_it_is():
    (update,) = typed(5, ["x"])

    assert next(iter(merged([update]))) is update


def test_clients_are_those_with_structs():
    first, second = typed(5, ["a", "b"])
    other = typed(9, ["c"])

    assert clients_of(first) == clients_of(second) == [5]
    assert sorted(clients_of(next(iter(merged([first, *other]))))) == [5, 9]
    assert clients_of(b"\0\0") == []


def test_a_fold_is_the_state_after_all_updates():
    updates = typed(5, ["hello ", "world"])

    state = folded(folded(b"", updates[:1]), updates[1:])

    assert text_of([state]) == "hello world"
    assert folded(state, updates) == state


def test_a_fold_of_what_is_no_update_is_refused():
    with pytest.raises(InvalidYjsUpdateError):
        folded(b"", [b"\x01\xff"])
