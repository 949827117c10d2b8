"""Blocks of a document as plain values (``document/block_spec.py``), out of a room and into it."""

from __future__ import annotations

from collections.abc import Iterator

from collabkernel.client.edit import Edit
from collabkernel.crdt.ids import OpId
from collabkernel.document import block_edits
from collabkernel.document.block import TYPE
from collabkernel.document.block_document import BlockDocument
from collabkernel.document.block_edits import Plan, TextFormat
from collabkernel.document.block_spec import IMAGE, SOURCE, BlockSpec, Property, Run, Text, from_delta, plain
from collabkernel.document.markdown.inline_write import write_image
from collabkernel.document.markdown.read import import_markdown
from collabkernel.document.markdown.write import export_markdown

__all__ = ["export_markdown", "import_markdown", "insert_spec", "spec_of"]


def insert_spec(edit: Edit, parent: OpId, index: int, spec: BlockSpec) -> OpId:
    """Make a block and all below it, before the child of ``parent`` at an index; its id.

    Nesting is bounded where specs are made, so the recursion is too.
    """
    id = edit.next_id
    text = tuple(_shown(spec.text))
    edit.run(block_edits.insert_block(edit.blocks, id, parent, index, spec.type, plain(text), spec.properties))
    at = 0
    for run in text:
        end = at + len(run.insert)
        if run.marks:
            edit.run(Plan((TextFormat(id, at, end, dict(run.marks)),)))
        at = end
    for i, child in enumerate(spec.children):
        insert_spec(edit, id, i, child)
    return id


def _shown(text: Text) -> Iterator[Run]:
    """Runs as a rope holds them: an image in the text is written out."""
    for run in text:
        if isinstance(run.insert, str):
            yield run
        elif IMAGE in run.insert:
            yield Run(write_image(run.insert[IMAGE]), {**run.marks, SOURCE: True})


def spec_of(blocks: BlockDocument, block: OpId) -> BlockSpec:
    """A block and all that is shown below it."""
    found = blocks.known_block(block)
    properties: dict[str, Property] = {
        name: value  # type: ignore[misc]  # bytes are no value of a spec, and left out
        for name, value in found.properties.items()
        if name != TYPE and not isinstance(value, bytes)
    }
    children = tuple([spec_of(blocks, child) for child in blocks.tree.shown_children(block)])
    return BlockSpec(found.type, properties, from_delta(blocks.delta(block)), children, block)
