"""A room with a document that is long enough to be looked at in parts."""

from __future__ import annotations

from collabkernel.crdt.ids import ROOT, OpId, Slot
from collabkernel.crdt.order_key import key_between
from collabkernel.document.operations import BlockInsert, MapSet, NewDocument, Op, document_id
from collabkernel.limits import Limits
from collabkernel.room.events import Ticked
from collabkernel.wire.messages import ServerMessage, Viewport
from tests.room.drive import Driver, envelope

BODY = document_id("body")


class Book:
    """A room with a document of many paragraphs, its writer, and readers who look at parts of it."""

    def __init__(self, paragraphs: int = 600, limits: Limits | None = None) -> None:
        self.driver = Driver(limits or Limits())
        self.writer = self.driver.join("ann")
        self.counter = 1
        self.keys: list[str] = []
        self.blocks: list[OpId] = []
        self.write(NewDocument(ROOT, "body"))
        self.append(paragraphs)
        self.driver.take(self.writer)

    @property
    def site(self) -> int:
        return 100 + self.writer

    def write(self, *ops: Op) -> None:
        """One envelope of the writer's."""
        self.driver.submit(self.writer, envelope(self.counter, *ops, base=self.driver.head))
        self.counter += len(ops)
        self.driver.now_ms += 1000

    def append(self, count: int) -> list[OpId]:
        """More paragraphs, at the end."""
        ops = []
        for _ in range(count):
            self.keys.append(key_between(self.keys[-1] if self.keys else None, None, self.site))
            ops.append(BlockInsert(BODY, Slot.CHILD, self.keys[-1], "paragraph"))
        made = [OpId(self.site, self.counter + i) for i in range(count)]
        self.blocks += made
        self.write(*ops)
        return made

    def set(self, block: OpId, value: int) -> None:
        """Set a property of a block."""
        self.write(MapSet(block, "level", value))

    def join(self, *blocks: OpId) -> int:
        """A reader who has named a viewport before he says Hello."""
        session = self.driver.open("bob")
        self.driver.send(session, Viewport(blocks))
        self.driver.hello(session)
        return session

    def look(self, session: int, *blocks: OpId) -> list[ServerMessage]:
        """What a reader is sent when he looks at some blocks."""
        self.driver.take(session)
        self.driver.send(session, Viewport(blocks))
        return self.driver.take(session)

    def tick(self) -> None:
        """The presence tick comes."""
        self.driver.now_ms += self.driver.limits.presence_tick_ms
        self.driver.feed(Ticked())
