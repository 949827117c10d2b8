"""Who writes as which site."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from collabkernel.client.actors import PIECE, Authors, Origin, ask_in_pieces
from collabkernel.crdt.ids import OpId
from tests.client.log_world import World

pytestmark = pytest.mark.core


def test_names_come_with_the_log_and_with_answers() -> None:
    world = World(2)
    ann, bob = world.rooms
    assert (ann.actors.of(ann.site), ann.actors.of(bob.site)) == ("user101", None)
    bob.root.a = 1
    world.settle()
    assert ann.actors.of(bob.site) == "user102"
    assert ann.actors.missing([ann.site, 9, bob.site, 9]) == [9]
    ann.actors.learn({9: "cem"})
    assert ann.actors.of(9) == "cem"


def test_the_server_is_asked_in_pieces() -> None:
    asked: list[tuple[int, int]] = []

    async def ask(ops: Sequence[OpId], sites: Sequence[int]) -> Authors:
        asked.append((len(ops), len(sites)))
        return Authors({op: Origin(op.counter, 0, "ann") for op in ops}, dict.fromkeys(sites, "ann"))

    ops = [OpId(7, 1 + i) for i in range(2 * PIECE + 1)]
    found = asyncio.run(ask_in_pieces(ask, ops, [7]))

    assert asked == [(PIECE, 1), (PIECE, 0), (1, 0)]
    assert (len(found.origin_by_op), found.actor_by_site) == (len(ops), {7: "ann"})
    assert asyncio.run(ask_in_pieces(ask, [], [])) == Authors({}, {})
