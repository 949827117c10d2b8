"""The pycrdt document behind a rope: made from the updates that made the text, and fed with what was judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pycrdt import Doc, Text, merge_updates

from collabkernel.crdt.yjs.yrs import apply_to

ROOT_NAME = "text"
"""The root type of every rope; the same in every language."""
EMPTY_STATE = b"\x00\x00"
"""What yrs encodes when there is nothing."""
MERGE_MAX = 50
"""Updates in one call of yrs' ``merge_updates``, which takes quadratic time."""


class Mark(NamedTuple):
    """A text by the updates that made it."""

    base: bytes
    """An encoded state, or nothing."""
    since: list[tuple[int, bytes]]
    """(client, update) after it; the text may append to this list ..."""
    length: int
    """... but only so many are meant."""

    @property
    def updates(self) -> list[tuple[int, bytes]]:
        """(client, update) after the base."""
        return self.since[: self.length]


def build(mark: Mark, client_id: int) -> tuple[Doc[Text], Text]:
    """The document of a mark, and its text.

    Raises:
        InvalidYjsUpdateError: yrs does not take it.
    """
    # One guid for all, because a StackItem names its document by it and has to survive a rebuild.
    doc: Doc[Text] = Doc(client_id=client_id, guid=ROOT_NAME)
    text = doc.get(ROOT_NAME, type=Text)
    if mark.base:
        apply_to(doc, mark.base)
    for _, update in mark.updates:
        apply_to(doc, update)
    return doc, text


def merge(updates: Sequence[bytes]) -> bytes:
    """One update for many, ``MERGE_MAX`` at a time."""
    merged = list(updates)
    while len(merged) > 1:
        merged = [merge_updates(*merged[start : start + MERGE_MAX]) for start in range(0, len(merged), MERGE_MAX)]
    return merged[0] if merged else EMPTY_STATE
