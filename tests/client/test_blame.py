"""Who made and wrote what."""

from __future__ import annotations

import pytest

import collabkernel as ck
from collabkernel import aio
from tests.client.waiting import wait_for


def test_blocks_and_runs_of_text_are_told_with_their_authors() -> None:
    with (
        ck.connect("blame", url="memory://", name="ann") as ann,
        ck.connect("blame", url="memory://", name="bob") as bob,
    ):
        one, _ = ann.doc("body").append("one three\n\nlast")
        ann.flush()
        seq = ann.seq
        wait_for(bob, lambda: len(bob.doc("body")) == 2)
        bob.doc("body")[0].insert(4, "two\U0001f600 ")
        half = bob.doc("body")[0].split(6)
        bob.flush()
        wait_for(ann, lambda: len(ann.doc("body")) == 3)

        first, second, third = ann.doc("body").blame()

        assert (first.block, first.actor, first.runs) == (one, "ann", (("ann", "one "), ("bob", "tw")))
        assert (second.block.id, second.actor) == (half.id, "bob")
        assert second.runs == (("bob", "o\U0001f600 "), ("ann", "three"))
        assert third.runs == (("ann", "last"),)
        assert first.seq is not None
        assert second.seq is not None
        assert first.seq < third.seq <= seq < second.seq
        assert len(ann.at(first.seq).doc("body")) == 1
        assert first.time_ms <= second.time_ms
        assert str(first) == f"{one.id} (ann, {first.seq}): [ann] one  [bob] tw"


@pytest.mark.anyio
async def test_an_async_room_awaits_it() -> None:
    async with aio.connect("async-blame", url="memory://", name="ann") as ann:
        ann.doc("body").append("one")
        await ann.flush()
        ((only,),) = [await ann.doc("body").blame()]
        assert (only.actor, only.runs) == ("ann", (("ann", "one"),))
