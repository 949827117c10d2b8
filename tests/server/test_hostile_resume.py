"""A site that is resumed again and again while its older sockets go on sending: the room stays up for everybody."""

from __future__ import annotations

import asyncio
import random

import pytest

from collabkernel.crdt.ids import ROOT
from collabkernel.document.operations import MapSet
from collabkernel.server.hub import Hub
from collabkernel.storage import open_storage
from collabkernel.wire.messages import Hello, SessionKind
from tests.server.raw import RawClient, enter, join, run


@pytest.mark.parametrize("seed", range(5))
def test_resuming_while_the_older_sockets_send_disturbs_nobody(seed: int) -> None:
    rng = random.Random(seed)

    async def scenario(hub: Hub) -> None:
        bob = await join(hub, actor="bob")
        sockets: list[RawClient] = [await join(hub)]
        resume = sockets[0].resume()
        counter = 1
        for n in range(1, 60):
            for socket in rng.sample(sockets, min(3, len(sockets))):
                await socket.submit(counter, MapSet(ROOT, f"k{counter}", n))
            again = await enter(hub)
            await again.say(Hello(SessionKind.SCRIPT, "raw 1", resume))
            sockets.append(again)
            if rng.random() < 0.3:
                await again.leave()
            if rng.random() < 0.5:
                await asyncio.sleep(0)
            await bob.store(n, MapSet(ROOT, "bob", n))
            counter += rng.random() < 0.5

        assert bob.closed is None
        assert {socket.bye for socket in sockets} <= {None, "superseded"}
        seqs = [(e.site, e.envelope.counter) for e in bob.envelopes]
        assert len(seqs) == len(set(seqs))

    run(scenario, Hub(open_storage("memory://")))
