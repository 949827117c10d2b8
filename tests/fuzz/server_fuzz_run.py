"""The body of the fuzz test of a whole server with Yjs updates, for a process of its own: yrs may hang or die.

Hostile sessions send grammar-made updates through frames, room and log; an honest one types between them, is answered
in time, and ends with the same text as the server. Each *world* is a room, made from a seed.

    python tests/fuzz/server_fuzz_run.py SEED CASES PROGRESS_FILE
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from collabkernel.crdt.ids import ROOT, OpId
from collabkernel.crdt.text import TextRope
from collabkernel.document.live_tree import LiveTree, TextNode
from collabkernel.document.operations import ContainerKind, MapSet, NewContainer, TextEdit
from collabkernel.limits import YJS_CLOCK_MAX, Limits
from collabkernel.server.hub import Hub
from collabkernel.storage import open_storage
from tests.fuzz.yjs_fuzz_run import rss_bytes
from tests.fuzz.yjs_grammar import YjsGrammar, mutate
from tests.server.raw import RawClient, join

CASES_A_WORLD = 100
CASES_A_ROUND = 20
HOSTILE_SESSIONS = 3
LIMITS = replace(Limits(), ops_per_s=10**6, ops_burst=10**6, frames_per_s=10**6)


class World:
    """One room, an honest typist with a replica, and hostile sessions."""

    def __init__(self, rng: random.Random, hub: Hub, room: str) -> None:
        self.rng = rng
        self.hub = hub
        self.room = room
        self.counter_by_session: dict[RawClient, int] = {}
        self.accepted: list[bytes] = []
        self.taken = 0

    async def open(self) -> None:
        self.typist = await join(self.hub, self.room, "typist")
        self.hostile = [await join(self.hub, self.room, f"mallory-{n}") for n in range(HOSTILE_SESSIONS)]
        assert self.typist.welcome is not None
        self.site = self.typist.welcome.site
        self.tree = LiveTree(client_id=self.site)
        self.target = OpId(self.site, 1)
        await self.submit(self.typist, MapSet(ROOT, "t", NewContainer(ContainerKind.TEXT)))
        await self.settle()
        for client in self.hostile:
            client.base = 1

    async def submit(self, client: RawClient, op: MapSet | TextEdit) -> int:
        counter = self.counter_by_session.get(client, 0) + 1
        self.counter_by_session[client] = counter
        await client.submit(counter, op)
        return counter

    @property
    def rope(self) -> TextRope:
        node = self.tree.node(self.target)
        assert isinstance(node, TextNode)
        return node.rope

    def take(self) -> None:
        """Bring the typist's replica up to what he was shown."""
        for stored in self.typist.envelopes[self.taken :]:
            self.taken += 1
            for i, op in enumerate(stored.envelope.ops):
                self.tree.apply(stored.op_id(i), stored.stamp(i), op)
                if isinstance(op, TextEdit):
                    self.accepted.append(op.update)

    async def settle(self) -> None:
        """Wait until everybody was answered for all that he sent, and the typist was shown all that was stored."""
        answered = 0
        for client, last in self.counter_by_session.items():
            await client.until(lambda c=client, n=last: len(c.acks) + len(c.codes) >= n)
            answered = max(answered, *client.acks.values(), 0)
        await self.typist.until(lambda: self.typist.through >= answered)
        self.take()

    def case(self, client: RawClient) -> bytes:
        rng = self.rng
        assert client.welcome is not None
        roll = rng.random()
        if roll < 0.2 and self.accepted:
            return mutate(rng, rng.choice(self.accepted))
        if roll < 0.3 and self.rope.state_vector().get(client.welcome.site, 0) < YJS_CLOCK_MAX // 2:
            author = TextRope.from_state(self.rope.encode_state(), client.welcome.site)
            return mutate(rng, author.insert(rng.randint(0, len(author)), rng.choice(("q", "zü", "😀"))))
        wrong = rng.choice((0.0, 0.0, 0.02, 0.1, 0.4))
        return YjsGrammar(rng, self.rope.state_vector(), client.welcome.site, wrong).update()

    async def type(self) -> float:
        """The typist types; the processor's milliseconds until he was acknowledged, of the thread that does all."""
        update = self.rope.insert(self.rng.randint(0, len(self.rope)), "<ok>")
        begin = time.thread_time()
        counter = await self.submit(self.typist, TextEdit(self.target, update))
        await self.typist.until(lambda: counter in self.typist.acks)
        return (time.thread_time() - begin) * 1000

    async def close(self) -> None:
        """The server's text is the typist's; a newcomer gets the same out of the log."""
        await self.settle()
        told = (await self.hub.room_state(self.room))["state"]["t"]
        assert told == self.rope.text, "the server's text differs from the typist's"
        assert told.count("<ok>") > 0 or len(self.accepted) > 0
        await self.hub.delete_room(self.room)


async def fuzz(seed: str, cases: int, progress: int) -> dict[str, object]:
    counts: Counter[str] = Counter()
    served_ms: list[float] = []
    rss_start = 0
    hub = Hub(open_storage("memory://"), LIMITS)
    await hub.start()
    for number in range(0, cases, CASES_A_WORLD):
        world = World(random.Random(f"{seed}:{number}"), hub, f"w{number}")
        await world.open()
        for start in range(0, CASES_A_WORLD, CASES_A_ROUND):
            for case in range(start, start + CASES_A_ROUND):
                client = world.rng.choice(world.hostile)
                update = world.case(client) or b"\0"  # without bytes the frame itself would be refused
                label = f"world {seed}:{number} case {case} bytes {update.hex()}"
                os.pwrite(progress, label.encode().ljust(4096, b"\0"), 0)
                await world.submit(client, TextEdit(world.target, update))
            served_ms.append(await world.type())
            await world.settle()
        await world.close()
        for client in world.hostile:
            counts["applied"] += len(client.acks)
            counts.update(client.codes)
            assert client.bye == "room-deleted", f"a hostile session was ended by {client.bye}"
        if number == CASES_A_WORLD * 10:
            rss_start = rss_bytes()
    await hub.stop()
    growth = rss_bytes() - rss_start if rss_start else 0
    median_ms = statistics.median(served_ms)
    return {"counts": counts, "slowest_ms": max(served_ms), "median_ms": median_ms, "growth_bytes": growth}


if __name__ == "__main__":
    file = os.open(sys.argv[3], os.O_CREAT | os.O_WRONLY)
    print(json.dumps(asyncio.run(fuzz(sys.argv[1], int(sys.argv[2]), file))))
