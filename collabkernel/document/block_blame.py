"""Who typed which characters of a block: a Yjs client id is a site, and a site is one user's."""

from __future__ import annotations

from collabkernel.crdt.ids import OpId
from collabkernel.document.block_document import BlockDocument
from collabkernel.document.block_text import BlockRope, Stretch


def typed_by(document: BlockDocument, block: OpId) -> list[tuple[int, str]]:
    """The text that a block shows as runs of one site each, neighbours of one site joined."""
    found: list[tuple[int, str]] = []
    for part in document.parts(block):
        stretch = document.stretch(part)
        if stretch is None:
            continue
        for site, text in _runs(document.ropes[document.block(part).rope_id], stretch):
            if found and found[-1][0] == site:
                text = found.pop()[1] + text
            found.append((site, text))
    return found


def _runs(rope: BlockRope, stretch: Stretch) -> list[tuple[int, str]]:
    """What each site has typed in a stretch of a rope."""
    found: list[tuple[int, str]] = []
    text, holes, at = rope.rope.text, set(stretch.holes), 0
    for site, chars in rope.rope.anchors().authors():
        start, end = max(at, stretch.start), min(at + chars, stretch.end)
        piece = "".join([text[i] for i in range(start, end) if i not in holes])
        if piece:
            found.append((site, piece))
        at += chars
    return found
