"""Names of characters that stay."""

from __future__ import annotations

import random

import pytest

from collabkernel.crdt.text import TextRope
from tests.examples import seeds

pytestmark = pytest.mark.core


def test_each_character_has_a_name_that_finds_it() -> None:
    rope = TextRope(7)
    rope.insert(0, "hä\U0001f600öxyz end")
    rope.insert(3, "\U0001f680\U0001f680")
    rope.format(1, 4, {"bold": True})
    rope.delete(5, 2)
    rope.embed(2, {"image": "x"})
    anchors = rope.anchors()
    names = [anchors.name_at(index) for index in range(len(rope))]
    assert [anchors.find(name) for name in names] == [(index, True) for index in range(len(rope))]
    assert len(set(names)) == len(rope)
    for outside in (-1, len(rope)):
        with pytest.raises(IndexError):
            anchors.name_at(outside)
    assert anchors.find((7, 999)) is None
    assert anchors.find((8, 0)) is None
    assert TextRope(1).anchors().find((7, 0)) is None


def test_what_was_deleted_is_found_where_it_stood() -> None:
    rope = TextRope(7)
    rope.insert(0, "a word here")
    name = rope.anchors().name_at(4)
    rope.delete(2, 5)
    assert rope.anchors().find(name) == (2, False)
    rope.insert(0, ">> ")
    assert rope.anchors().find(name) == (5, False)


@pytest.mark.parametrize("seed", seeds(range(10)))
def test_names_follow_through_edits_of_two(seed: int) -> None:
    """The oracle: every character is another, so where it is can be seen."""
    rng = random.Random(seed)
    ropes = [TextRope(7), TextRope(8)]
    signs = iter(rng.sample([chr(0x4E00 + i) for i in range(400)] + [chr(0x1F300 + i) for i in range(200)], 600))
    name_by_sign: dict[str, tuple[int, int]] = {}
    for _ in range(40):
        rope, other = rng.sample(ropes, 2)
        at = rng.randint(0, len(rope))
        match rng.randrange(4):
            case 0 if at < len(rope):
                update = rope.delete(at, rng.randint(1, min(5, len(rope) - at)))
            case 1 if at < len(rope):
                update = rope.format(at, len(rope), {"bold": rng.choice([True, None])})
            case _:
                update = rope.insert(at, "".join(next(signs) for _ in range(rng.randint(1, 8))))
        if update:
            other.apply(update, rope.client_id)
        for each in ropes:
            anchors = each.anchors()
            for index, sign in enumerate(each.text):
                name = name_by_sign.setdefault(sign, anchors.name_at(index))
                assert anchors.find(name) == (index, True), seed
            for sign, name in name_by_sign.items():
                found = anchors.find(name)
                assert sign in each.text or (found is not None and not found[1]), seed
    restored = TextRope.from_state(ropes[0].encode_state(), 9).anchors()
    assert [restored.name_at(i) for i in range(len(ropes[0]))] == [name_by_sign[sign] for sign in ropes[0].text]
    assert sum(chars for _, chars in restored.authors()) == len(ropes[0])
