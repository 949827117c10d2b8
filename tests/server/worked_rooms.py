"""Rooms that were worked in for days, with live values and a block document, for what becomes of their logs."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from collabkernel.limits import Limits
from collabkernel.room.fold import Fold
from collabkernel.server.compaction import Compaction
from collabkernel.storage.base import Appended, AppendRequest, OpRow, Storage
from collabkernel.wire.ops import encode_op, op_kind
from tests.document.block_world import KEEPER
from tests.document.test_block_document_laws import history as history_of_blocks
from tests.document.test_live_tree import history as history_of_values

ROOM = "plan"
START_MS = 1_800_000_000_000
HOUR_MS = 3_600_000
MADE_EVERY_MS = 20 * 60_000
"""Three envelopes an hour."""
AT_ONCE = replace(Limits(), compact_cpu_percent=100)


def allowance(storage: Storage) -> Compaction:
    """Work without rests."""
    return Compaction(storage, AT_ONCE, lambda: 0, has_peers=False)


def worked_log(seed: int) -> list[AppendRequest]:
    """Some dozen envelopes by six authors or more, one every twenty minutes."""
    world, _ = history_of_blocks(seed, "itdsmxvpu", keeps_order=False)
    blocks = [each for each in world.server.log if each.site != KEEPER]
    values = [(op_id, op) for op_id, _, op in history_of_values(seed)]
    rng, made = random.Random(seed), list[AppendRequest]()
    seq, seq_by_block_seq = 0, {0: 0}
    while blocks or values:
        if not values or (blocks and rng.random() < 0.5):
            stored = blocks.pop(0)
            site, counter, ops = stored.site, stored.envelope.counter, stored.envelope.ops
            base = seq_by_block_seq[stored.envelope.base]
            seq_by_block_seq |= {stored.seq + i: seq + 1 + i for i in range(len(ops))}
        else:
            op_id, op = values.pop(0)
            site, counter, base, ops = op_id.site, op_id.counter, 0, (op,)
        hlc = (START_MS + len(made) * MADE_EVERY_MS) << 16
        encoded = tuple([(op_kind(op), encode_op(op)) for op in ops])
        made.append(AppendRequest(ROOM, site, 1, counter, base, hlc, f"user{site}", encoded))
        seq += len(ops)
    return made


async def store(storage: Storage, requests: Sequence[AppendRequest]) -> None:
    """Append to a room, which is made when it does not exist."""
    await storage.create_room(ROOM, START_MS)
    for request in requests:
        await storage.new_site(ROOM, request.site, request.actor, 2, bytes(32), START_MS)
    for answer in await storage.append(requests):
        assert isinstance(answer, Appended), answer
        assert not answer.duplicate


async def log_of(storage: Storage) -> list[OpRow]:
    """All that the room's log still has."""
    row = await storage.head(ROOM)
    assert row is not None
    return [each async for rows in storage.read_ops(ROOM, row.dropped_seq) for each in rows]


def folded(rows: Sequence[OpRow]) -> dict[str, bytes]:
    """What a whole log makes."""
    fold = Fold()
    fold.apply_rows(rows)
    fold.settle()
    assert not fold.skipped
    return fold.to_parts()
