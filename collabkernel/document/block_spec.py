"""A block as a plain value: what Markdown and notebooks are read into and written from, without ids of a log.

The text of a block is a tuple of runs, each with its marks: Quill's delta, of inserts alone. What is not said by a mark
is in the text itself: ``"\\n"`` is the line break of a wrapped source, and with the mark ``hard_break`` one that shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

from collabkernel.crdt.ids import OpId
from collabkernel.crdt.text_delta import Delta, insertion

Property: TypeAlias = bool | int | float | str | None
"""A block's property: what a register of a room holds. Anything nested is JSON in a string."""

NOTHING: Mapping[str, Any] = MappingProxyType({})
"""No marks, no properties."""
EMBED_CHAR = "\ufffc"
"""An embed without words in plain text: OBJECT REPLACEMENT CHARACTER."""

BOLD, ITALIC, STRIKE, CODE = "bold", "italic", "strike", "code"
LINK, LINK_TITLE = "link", "link_title"
SOURCE = "source"
"""The mark of a run that is Markdown or HTML as it was written, since no other mark says it."""
HARD_BREAK = "hard_break"
IMAGE = "image"
"""The key of an inline image's embed: ``{"image": {"src": ..., "alt": ..., "title": ...}}``; an empty title is left
out."""


def _nothing() -> Mapping[str, Any]:
    return NOTHING


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of text, or one embed, with its marks."""

    insert: str | Mapping[str, Any]
    marks: Mapping[str, Property] = field(default_factory=_nothing)


Text: TypeAlias = tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class BlockSpec:
    """A block and all below it."""

    type: str
    properties: Mapping[str, Property] = field(default_factory=_nothing)
    """A property at its default is left out."""
    text: Text = ()
    """Its runs: none empty, no two neighbours with the same marks."""
    children: tuple[BlockSpec, ...] = ()
    id: OpId | None = None
    """The block's name in its room; None for one that is not yet there."""


def styled(insert: str | Mapping[str, Any], **marks: Property) -> Text:
    """A text of one run."""
    return (Run(insert, marks),) if insert else ()


def join(runs: Iterable[Run]) -> Text:
    """The runs as a text: without empty ones, neighbours of the same marks in one."""
    joined: list[tuple[list[str] | Mapping[str, Any], Mapping[str, Property]]] = []
    for run in runs:
        if isinstance(run.insert, str):
            if not run.insert:
                continue
            if joined and isinstance(joined[-1][0], list) and joined[-1][1] == run.marks:
                joined[-1][0].append(run.insert)
            else:
                joined.append(([run.insert], run.marks))
        else:
            joined.append((run.insert, run.marks))
    return tuple(Run("".join(insert) if isinstance(insert, list) else insert, marks) for insert, marks in joined)


def plain(text: Text) -> str:
    """The words of a text: an image reads as its alternative text."""
    return "".join(run.insert if isinstance(run.insert, str) else _embed_words(run.insert) for run in text)


def _embed_words(embed: Mapping[str, Any]) -> str:
    image = embed.get(IMAGE)
    words = image.get("alt") if isinstance(image, Mapping) else None
    return words if isinstance(words, str) and words else EMBED_CHAR


def to_delta(text: Text) -> Delta:
    """The text as a delta that makes it out of nothing."""
    return [insertion(run.insert if isinstance(run.insert, str) else dict(run.insert), dict(run.marks)) for run in text]


def from_delta(delta: Delta) -> Text:
    """The text that a delta of inserts makes."""
    return join(Run(part["insert"], part.get("attributes") or NOTHING) for part in delta)


def in_order(spec: BlockSpec) -> Iterator[BlockSpec]:
    """The block and all below it, in document order."""
    stack = [spec]
    while stack:
        block = stack.pop()
        yield block
        stack.extend(reversed(block.children))


def depth(spec: BlockSpec) -> int:
    """Levels of blocks: one for a block alone."""
    levels, deepest = [(spec, 1)], 0
    while levels:
        block, level = levels.pop()
        deepest = max(deepest, level)
        levels.extend((child, level + 1) for child in block.children)
    return deepest
