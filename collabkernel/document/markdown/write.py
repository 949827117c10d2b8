"""Blocks as Markdown.

Whatever blocks there are, something is written; in the form that reading gives (``docs/MARKDOWN.md``), reading gives
them again. A list is the items that stand together and have the same marker; a blank line between two of its blocks
makes it loose, so a list in which one is needed is loose throughout.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, zip_longest

from collabkernel.document import block_types as types
from collabkernel.document.block_spec import SOURCE, BlockSpec, depth, in_order, plain
from collabkernel.document.markdown.escapes import info
from collabkernel.document.markdown.id_map import IdMap, id_map
from collabkernel.document.markdown.inline_write import Place, write_image, write_inline
from collabkernel.document.markdown.words import EMPTY
from collabkernel.limits import BLOCK_SPEC_DEPTH_MAX

_ITEMS = frozenset({types.LIST_ITEM, types.TASK})
_PLACES: Mapping[str, Place] = {types.LIST_ITEM: "item", types.TASK: "task"}
_RULE = re.compile(r"([-*])(?:[ \t]*\1){2,}[ \t]*")
_CLOSING_SIGNS = re.compile(r"(?:^|(?<=[ \t]))(#+)$")
_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})", re.MULTILINE)
_ALIGNMENTS = {"left": ":---", "center": ":---:", "right": "---:"}


def export_markdown(document: BlockSpec) -> tuple[str, IdMap]:
    """The Markdown of a document (or of any block, with all below it), and which block is where in it.

    What is nested over ``BLOCK_SPEC_DEPTH_MAX`` levels is written without its nesting.
    """
    shown = document if depth(document) <= BLOCK_SPEC_DEPTH_MAX else _flat(document, BLOCK_SPEC_DEPTH_MAX)
    writer = _Writer(has_definitions=_has_definitions(document))
    lines = writer.blocks(shown.children if shown.type == types.DOCUMENT else (shown,))
    return "".join(f"{line}\n" for line in lines), id_map(document)


def _flat(block: BlockSpec, levels: int) -> BlockSpec:
    """The block with what is deeper side by side on the last level."""
    if levels > 2:
        return replace(block, children=tuple(_flat(child, levels - 1) for child in block.children))
    below = (deeper for child in block.children for deeper in in_order(child))
    return replace(block, children=tuple(replace(deeper, children=()) for deeper in below))


def _has_definitions(document: BlockSpec) -> bool:
    """Whether brackets alone may be a link: somewhere is a definition, in what is written as it is."""
    return any(
        "]:" in run.insert
        for block in in_order(document)
        for run in block.text
        if isinstance(run.insert, str) and (block.type in (types.SOURCE, types.NOTEBOOK_CELL) or SOURCE in run.marks)
    )


@dataclass(frozen=True, slots=True)
class _List:
    """Items that make one list, or one block of another type."""

    blocks: tuple[BlockSpec, ...]
    is_list: bool
    is_loose: bool = True


class _Writer:
    """Writes blocks as lines."""

    def __init__(self, *, has_definitions: bool) -> None:
        self._links = has_definitions

    def blocks(self, blocks: Sequence[BlockSpec]) -> list[str]:
        """Blocks that stand below one another, with a blank line between."""
        return self._joined(blocks, is_loose=True)

    def _joined(self, blocks: Sequence[BlockSpec], *, is_loose: bool, rule: str = "---") -> list[str]:
        lines: list[str] = []
        before: _List | None = None
        for group in _groups(blocks):
            if before is not None and is_loose:
                lines.append("")
            if group.blocks[0].type == types.DIVIDER:
                lines.append(rule)
            else:
                lines += self._group(group, is_after_list=before is not None and before.is_list)
            before = group
        return lines

    def _group(self, group: _List, *, is_after_list: bool) -> list[str]:
        if not group.is_list:
            lines = self._block(group.blocks[0])
            return [lines[0].lstrip(" "), *lines[1:]] if is_after_list else lines
        lines = []
        start = group.blocks[0].properties.get("start", 1)
        number = start if isinstance(start, int) else 1
        for at, item in enumerate(group.blocks):
            if at and group.is_loose:
                lines.append("")
            lines += self._item(item, min(number + at, types.ORDERED_START_MAX), is_loose=group.is_loose)
        return lines

    def _item(self, item: BlockSpec, number: int, *, is_loose: bool) -> list[str]:
        sign = str(item.properties.get("marker", ""))
        marker = f"{number}{sign or '.'}" if item.properties.get("ordered") else sign or "-"
        own = self._own(item)
        lines = self._with_own(own, item, is_loose=is_loose)
        if not lines:
            return [marker]
        if not own and _RULE.fullmatch(f"{marker} {lines[0]}"):
            lines = self._with_own([EMPTY], item, is_loose=is_loose)
        indent = " " * (len(marker) + 1)
        return [f"{marker} {lines[0].lstrip(' ')}", *(f"{indent}{line}" if line else "" for line in lines[1:])]

    def _own(self, block: BlockSpec) -> list[str]:
        """The lines of a container's own text; a comment keeps its place if it has none and a paragraph follows."""
        source = write_inline(block.text, _PLACES.get(block.type, "paragraph"), links=self._links)
        if block.type == types.TASK:
            box = "[x]" if block.properties.get("checked") else "[ ]"
            return f"{box} {source}".rstrip(" ").split("\n") if source else [box]
        if source:
            return source.split("\n")
        return [EMPTY] if block.children and _reads_as_paragraph(block.children[0]) else []

    def _with_own(self, own: list[str], block: BlockSpec, *, is_loose: bool) -> list[str]:
        # Hyphens below a text would make it a heading, and asterisks behind a marker another rule.
        children = self._joined(block.children, is_loose=is_loose, rule="___")
        blank = [""] if own and children and is_loose else []
        return [*own, *blank, *children]

    def _block(self, block: BlockSpec) -> list[str]:
        match block.type:
            case types.QUOTE:
                inner = self._with_own(self._own(block), block, is_loose=True)
                return [f"> {line}" if line else ">" for line in inner] or [">"]
            case types.TABLE:
                return self._table(block)
            case types.DOCUMENT:
                return self.blocks(block.children) or [EMPTY]
        lines = self._leaf(block)
        # Markdown has nothing below such a block: what is there all the same comes after it.
        children = self.blocks([child for child in block.children if child.type not in _UNWRITTEN])
        return [*lines, "", *children] if children else lines

    def _leaf(self, block: BlockSpec) -> list[str]:
        match block.type:
            case types.HEADING:
                return self._heading(block)
            case types.CODE:
                return _fenced(block, str(block.properties.get("language", "")), str(block.properties.get("meta", "")))
            case types.IMAGE:
                return [write_image(block.properties)]
            case types.SOURCE:
                return plain(block.text).split("\n") if block.text else [EMPTY]
            case types.NOTEBOOK_CELL:
                return _cell(block)
            case _:
                source = write_inline(block.text, links=self._links)
                return source.split("\n") if source else [EMPTY]

    def _heading(self, block: BlockSpec) -> list[str]:
        level = block.properties.get("level", 1)
        level = min(max(level, 1), 6) if isinstance(level, int) else 1
        if level <= 2 and "\n" in plain(block.text):
            source = write_inline(block.text, links=self._links)
            # Hyphens below a line with a pipe would make a table.
            if "\n" in source and "|" not in source:
                return [*source.split("\n"), "===" if level == 1 else "---"]
        source = write_inline(block.text, "line", links=self._links)
        source = _CLOSING_SIGNS.sub(lambda match: f"{match[1][:-1]}\\#", source)
        return [f"{'#' * level} {source}" if source else "#" * level]

    def _table(self, table: BlockSpec) -> list[str]:
        rows = [[self._cell_source(cell) for cell in row.children] for row in table.children]
        width = max((len(row) for row in rows), default=0) or 1
        names = str(table.properties.get("align", "")).split(",")
        signs = [_ALIGNMENTS.get(name, "---") for name, _ in zip_longest(names[:width], range(width), fillvalue="")]
        filled = [row + [""] * (width - len(row)) for row in rows or [[]]]
        return [_row(filled[0]), _row(signs), *map(_row, filled[1:])]

    def _cell_source(self, cell: BlockSpec) -> str:
        return write_inline(cell.text, "line", links=self._links).replace("|", "\\|")


_UNWRITTEN = frozenset({types.NOTEBOOK_OUTPUT, types.NOTEBOOK_DATA})
"""What a notebook has and Markdown has no place for."""


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _fenced(block: BlockSpec, language: str, meta: str) -> list[str]:
    text = plain(block.text)
    words = info(f"{language} {meta}")
    sign = "~" if "`" in words else "`"
    longest = max((len(match[1]) for match in _FENCE.finditer(text) if match[1][0] == sign), default=2)
    fence = sign * (longest + 1)
    content = text.split("\n")
    if text and not text.strip("\n"):
        content.pop()
    gap = " " if words.startswith("~") else ""
    return [f"{fence}{gap}{words}", *(content if text else ()), fence]


def _cell(cell: BlockSpec) -> list[str]:
    """A notebook's cell: what it says, without its outputs."""
    if cell.properties.get("cell_type") == "code":
        return _fenced(cell, "python", "")
    return plain(cell.text).split("\n") if cell.text else [EMPTY]


# ---------------------------------------------------------------- lists


def _groups(blocks: Sequence[BlockSpec]) -> list[_List]:
    """The blocks, with the items of one list together."""
    groups: list[list[BlockSpec]] = []
    for block in blocks:
        if groups and block.type in _ITEMS and _list_key(block) == _list_key(groups[-1][0]):
            groups[-1].append(block)
        else:
            groups.append([block])
    return [_List(tuple(group), group[0].type in _ITEMS, _is_loose(tuple(group))) for group in groups]


def _list_key(block: BlockSpec) -> tuple[bool, bool, object]:
    """What items of one list have in common."""
    properties = block.properties
    return (block.type in _ITEMS, bool(properties.get("ordered")), properties.get("marker"))


def _is_loose(items: tuple[BlockSpec, ...]) -> bool:
    if items[0].type not in _ITEMS:
        return True
    return any(item.properties.get("loose") for item in items) or any(map(_needs_blank, items))


def _needs_blank(item: BlockSpec) -> bool:
    """Whether an item has blocks that Markdown tells apart by a blank line alone."""
    groups = _groups(item.children)
    if groups and (item.text or item.type == types.TASK) and not _interrupts(groups[0], "paragraph"):
        return True
    if not item.text and groups and _reads_as_paragraph(item.children[0]):
        return True
    return any(not _interrupts(after, before.blocks[-1].type) for before, after in pairwise(groups))


_CLOSED = frozenset({types.CODE, types.HEADING, types.DIVIDER})
"""Blocks that are over with their last line."""


def _interrupts(group: _List, before: str) -> bool:
    """Whether a block right below another (of type ``before``) is read as one of its own."""
    block = group.blocks[0]
    if block.children and block.type not in (*_ITEMS, types.QUOTE):
        return False
    if group.is_list:
        return before in (*_CLOSED, *_ITEMS) or (before == "paragraph" and _begins_in_paragraph(block))
    if block.type == types.HEADING:
        return "\n" not in plain(block.text) and before in (*_CLOSED, *_ITEMS, "paragraph")
    if block.type in (types.CODE, types.DIVIDER):
        return before in (*_CLOSED, *_ITEMS, "paragraph", types.QUOTE)
    if block.type == types.PARAGRAPH:
        return before in _CLOSED
    return block.type == types.QUOTE and before in (*_CLOSED, *_ITEMS, "paragraph")


def _begins_in_paragraph(item: BlockSpec) -> bool:
    """Whether a list may begin right below a paragraph's line: with something in it and, if ordered, at one."""
    if item.type == types.LIST_ITEM and not item.text and not item.children:
        return False
    return not item.properties.get("ordered") or item.properties.get("start", 1) == 1


def _reads_as_paragraph(block: BlockSpec) -> bool:
    return block.type not in (types.HEADING, types.CODE, types.DIVIDER, types.QUOTE, types.TABLE, types.SOURCE, *_ITEMS)
