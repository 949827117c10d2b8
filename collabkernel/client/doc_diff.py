"""What differs between two states of a document, as users see it: ``doc.diff(room.at(seq))``."""

from __future__ import annotations

from collabkernel.client.block import Block
from collabkernel.client.live import Context
from collabkernel.crdt.ids import OpId
from collabkernel.crdt.text_delta import Delta
from collabkernel.document.block_diff import ContentDiff, diff
from collabkernel.document.block_document import BlockDocument
from collabkernel.document.operations import Scalar


class BlockDiff:
    """A block that is in both states and says something else."""

    def __init__(self, block: Block, before: Block, found: ContentDiff) -> None:
        self.block = block
        """As it is in the new state."""
        self.before = before
        """As it was in the old one."""
        self.text: Delta = found.text
        """Makes the new text of the old one, in Quill's form; empty if the text is the same."""
        self.is_formatted = found.is_formatted
        """The text is the same, and formatted otherwise."""
        self.properties: dict[str, tuple[Scalar, Scalar]] = found.properties
        """Old and new value of the properties that differ; None for one that is not there."""

    def __repr__(self) -> str:
        return f"<BlockDiff {self.block.id}: {self.marked()!r} {self.properties or ''}>"

    def marked(self) -> str:
        """Both texts in one: ``the [-old-]{+new+} house``."""
        old, at, made = self.before.text, 0, ""
        for part in self.text:
            if "insert" in part:
                made += "{+" + str(part["insert"]) + "+}"
            elif "delete" in part:
                made += "[-" + old[at : at + part["delete"]] + "-]"
                at += part["delete"]
            else:
                made += old[at : at + part["retain"]]
                at += part["retain"]
        return made + old[at:]


class DocDiff:
    """What makes the new state of a document of the old one. It is true when anything does."""

    def __init__(self, old: Context, new: Context, root: OpId) -> None:
        """Compare the documents below ``root`` in two rooms, of which one is a past state of the other."""
        with old.lock, new.lock:
            found = diff(_blocks(old), _blocks(new), root)
            self.added = [Block(new, id) for id in found.added]
            """Blocks of the new state, in its order."""
            self.removed = [Block(old, id) for id in found.removed]
            """Blocks of the old state, in its order."""
            self.moved = [Block(new, id) for id in found.moved]
            """Blocks that stand elsewhere; as few of a changed order as make it."""
            self.changed = [BlockDiff(Block(new, each.block), Block(old, each.block), each) for each in found.changed]
            """Blocks that say something else."""

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.moved or self.changed)

    def __str__(self) -> str:
        lines = [f"- {block.id} {block.type}: {block.text}" for block in self.removed]
        lines += [f"+ {block.id} {block.type}: {block.text}" for block in self.added]
        lines += [f"> {block.id} {block.type}: {block.text}" for block in self.moved]
        for each in self.changed:
            lines.append(f"~ {each.block.id} {each.block.type}: {each.marked()}")
            lines += [f"    {name}: {old!r} -> {new!r}" for name, (old, new) in each.properties.items()]
        return "\n".join(lines)

    def __repr__(self) -> str:
        counts = (len(self.added), len(self.removed), len(self.moved), len(self.changed))
        return "<DocDiff: {} added, {} removed, {} moved, {} changed>".format(*counts)


def _blocks(context: Context) -> BlockDocument:
    """A room's documents; of one without any an empty one."""
    return context.replica.state.blocks or BlockDocument()
