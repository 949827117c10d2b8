"""Random rooms: writers split, merge, move and type, the log is slow, readers look here and there and fall behind."""

from __future__ import annotations

import random
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.crdt.ids import OpId
from collabkernel.document.operations import Envelope, StoredEnvelope
from collabkernel.document.partitions import Partitions, Sizes
from collabkernel.room import viewport
from collabkernel.room.events import SessionBlocked, SessionDrained
from collabkernel.wire.messages import Viewport
from tests.document.block_world import Replica, Typist, World
from tests.examples import examples
from tests.room.drive import Driver
from tests.room.onlooker import Onlooker

pytestmark = pytest.mark.core


class RoomServer:
    """The room as the server of a ``World``: its log is what a session without a viewport is shown."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.observer = driver.join("observer")
        self.log: list[StoredEnvelope] = []

    def take(self, site: int, envelope: Envelope) -> None:
        """Submit what a writer made."""
        self.driver.submit(site - 100, envelope)

    def read(self) -> None:
        """Bring the log up to date."""
        for message in self.driver.take(self.observer):
            self.log += message.ops


class Scene:
    """A room, three writers and three readers."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.driver = Driver()
        self.server = RoomServer(self.driver)
        self.world = World.__new__(World)
        self.world.server = self.server  # type: ignore[assignment]  # it takes envelopes and has a log
        sessions = [self.driver.join(f"writer{i}") for i in range(3)]
        self.world.replicas = [Replica(100 + each, self.server) for each in sessions]  # type: ignore[arg-type]
        self.onlookers: dict[int, Onlooker] = {}
        for i in range(3):
            session = self.driver.open(f"reader{i}")
            self.driver.send(session, Viewport(()))
            self.driver.hello(session)
            self.onlookers[session] = Onlooker()
        self.wanted: dict[int, tuple[OpId, ...]] = dict.fromkeys(self.onlookers, ())
        self.blocked: set[int] = set()
        self.world.replicas[0].open()
        self.settle()

    def settle(self) -> None:
        """The log answers, everybody drains, sends and reads."""
        self.driver.answers_log = True
        self.driver.feed()
        for session in sorted(self.blocked):
            self.driver.feed(SessionDrained(session))
        self.blocked.clear()
        for replica in self.world.replicas:
            replica.send()
        for _ in range(3):
            self.driver.now_ms += viewport.THROUGH_MS
            self.driver.feed()
        self.deliver()
        for replica in self.world.replicas:
            replica.receive()

    def deliver(self) -> None:
        """What was sent arrives."""
        self.server.read()
        for session, onlooker in self.onlookers.items():
            for message in self.driver.take(session):
                onlooker.receive(message)

    def step(self, typist: Typist) -> None:
        """Something happens."""
        rng, driver = self.rng, self.driver
        replica = rng.choice(self.world.replicas)
        typist.edit(replica, "ttttddssmmixvpp")
        typist.network(replica)
        session = rng.choice(sorted(self.onlookers))
        chance = rng.random()
        if chance < 0.25:
            blocks = sorted(self.world.replicas[0].document.blocks)
            self.wanted[session] = tuple(rng.sample(blocks, min(len(blocks), rng.randint(0, 3))))
            driver.send(session, Viewport(self.wanted[session]))
        elif chance < 0.32:
            driver.feed(SessionBlocked(session))
            self.blocked.add(session)
        elif chance < 0.4 and session in self.blocked:
            driver.feed(SessionDrained(session))
            self.blocked.discard(session)
        elif chance < 0.55:
            driver.answers_log = not driver.answers_log
        driver.now_ms += rng.choice([0, 5, 50])
        driver.feed()
        self.deliver()


@given(st.integers(0, 10**9))
@examples(12)
def test_what_a_reader_has_is_the_log_up_to_through_and_nothing_off_screen_is_sent(seed: int):
    rng = random.Random(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(viewport, "Partitions", partial(Partitions, sizes=Sizes(2, 6)))
        patch.setattr(viewport, "VIEWPORT_PARTITIONS_KEPT", 2)
        scene = Scene(rng)
        typist = Typist(scene.world, rng)
        for _ in range(rng.randint(20, 120)):
            scene.step(typist)
        scene.settle()
        for session in scene.onlookers:
            scene.driver.send(session, Viewport(scene.wanted[session]))
        scene.settle()
    whole = scene.world.replicas[0].document
    assert not any(message.rejects for each in scene.driver.received.values() for message in each)
    for session, onlooker in scene.onlookers.items():
        assert onlooker.through == scene.driver.head
        assert list(onlooker.document.tree.rows()) == list(whole.tree.rows())
        assert onlooker.has >= {block for block in scene.wanted[session] if block in whole.tree}
        for block in onlooker.has & whole.blocks.keys():
            properties = onlooker.document.block(block).properties.registers()
            assert dict(properties) == dict(whole.block(block).properties.registers())
            assert onlooker.document.stretch(block) == whole.stretch(block)
            assert onlooker.document.text(block) == whole.text(block) or len(whole.parts(block)) > 1
