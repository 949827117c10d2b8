"""A reader who looks at a part of a room, after docs/PROTOCOL.md and no more: what it has of the blocks."""

from __future__ import annotations

from collabkernel.crdt.ids import OpId
from collabkernel.crdt.lww import LwwMap
from collabkernel.document.block import TYPE
from collabkernel.document.block_document import BlockDocument
from collabkernel.document.operations import Op, StoredEnvelope, TextEdit, TreeOp
from collabkernel.wire.messages import Contents, ServerMessage
from collabkernel.wire.room_state import decode_contents, decode_room


class Onlooker:
    """All places, and the contents of the blocks that it ``has``."""

    def __init__(self) -> None:
        self.document = BlockDocument(has_all_texts=False)
        self.has: set[OpId] = set()
        self.through = 0

    def receive(self, message: ServerMessage) -> None:
        """Take one message."""
        if message.snapshot is not None:
            self.document = decode_room(message.snapshot.state, None)[0].blocks or BlockDocument()
            self.document.has_all_texts = False
            self.has = set()
            self.through = message.snapshot.seq
        self.document.tells_changes = False  # nobody asks
        for contents in message.contents:
            self._take_contents(contents)
        if message.ops:
            assert message.ops[0].seq == self.through + 1, "a gap"
        for stored in (*message.filtered, *message.ops):
            assert stored.seq > self.through
            for i, op in enumerate(stored.envelope.ops):
                if self._needs(op):
                    self._take(stored, i, op)
        self.through = max(self.through, message.through)

    def _needs(self, op: Op) -> bool:
        if isinstance(op, TreeOp) or op.target not in self.document:
            return isinstance(op, TreeOp)
        return op.target in self.has or (not isinstance(op, TextEdit) and getattr(op, "key", "") == TYPE)

    def _take(self, stored: StoredEnvelope, i: int, op: Op) -> None:
        self.document.admit(stored.op_id(i), stored.stamp(i), op)
        if isinstance(op, TreeOp):
            self.document.judge(stored.op_id(i), op, stored.seq + i, stored.envelope.base)

    def _take_contents(self, contents: Contents) -> None:
        for each in decode_contents(contents.blocks):
            self.has.add(each.id)
            if each.id not in self.document:
                assert not each.registers
                assert not each.yjs_state
                continue
            block = self.document.block(each.id)
            told = [entry for entry in block.properties.registers() if entry[0] in (TYPE, "name")]
            block.properties = LwwMap([*told, *each.registers])
            self.document.ropes.pop(each.id, None)
            if each.yjs_state:
                self.document.enter_rope(each.id, each.yjs_state)
        self.has.difference_update(contents.lost)
