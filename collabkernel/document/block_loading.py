"""The contents of blocks coming and going, on a client that looks at a part of a document.

*Contents* are the properties of a block but for its type, and the rope that begins with it. They are state: what comes
is put in the place of what was there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from collabkernel.crdt.ids import OpId
from collabkernel.crdt.lww import LwwMap, Register
from collabkernel.document.block import NAME, TYPE, Block
from collabkernel.document.block_document import BlockDocument
from collabkernel.document.operations import MapDelete, MapSet, Op, TextEdit


def load(document: BlockDocument, id: OpId, registers: Iterable[tuple[str, Register]], yjs_state: bytes) -> None:
    """Know the contents of a block from here on; of one that is not in the document, none, and its insert follows.

    Raises:
        InvalidYjsUpdateError: The bytes are no state of a rope.
    """
    assert document.known is not None, "a document that is here whole is not loaded by parts"
    block = document.blocks.get(id)
    document.known.add(id)
    if block is not None:
        _put(document, block, registers, yjs_state)


def unload(document: BlockDocument, id: OpId) -> None:
    """Know them no longer. What is in them is let go."""
    assert document.known is not None, "a document that is here whole is not unloaded by parts"
    document.known.discard(id)
    block = document.blocks.get(id)
    if block is not None and (id in document.ropes or len(block.properties.held()) > 1):
        _put(document, block, (), b"")


def _put(document: BlockDocument, block: Block, registers: Iterable[tuple[str, Register]], yjs_state: bytes) -> None:
    told = (TYPE, NAME) if block.is_root else (TYPE,)
    kept = [(key, register) for key, register in block.properties.held() if key in told]
    block.properties = LwwMap([*kept, *registers])
    document.ropes.pop(block.id, None)
    if yjs_state:
        document.enter_rope(block.id, yjs_state)


def is_contents_op(op: Op, blocks: Collection[OpId]) -> bool:
    """Whether an operation is on the contents of one of these blocks."""
    return isinstance(op, MapSet | MapDelete | TextEdit) and op.target in blocks


def is_passed_over(document: BlockDocument, op: Op) -> bool:
    """Whether an operation is on contents that are not here."""
    if document.known is None or not isinstance(op, MapSet | MapDelete | TextEdit) or op.target not in document:
        return False
    is_type = not isinstance(op, TextEdit) and op.key == TYPE
    return not is_type and op.target not in document.known
