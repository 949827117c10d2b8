"""Markdown into blocks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from markdown_it.common.utils import unescapeAll
from markdown_it.token import Token

from collabkernel.document import block_types as types
from collabkernel.document.block_spec import IMAGE, BlockSpec, Property, Run, Text
from collabkernel.document.markdown.id_map import IdMap, with_ids
from collabkernel.document.markdown.inline_read import read_inline
from collabkernel.document.markdown.parser import CHECKED, parse, split_front_matter
from collabkernel.document.markdown.words import EMPTY
from collabkernel.errors import TooLargeError
from collabkernel.limits import MARKDOWN_BYTES

INFO_MAX = 1000
"""Signs of a fence's info string: a language and a few settings; a longer one is kept as its source."""


def import_markdown(markdown: str, known: IdMap = ()) -> BlockSpec:
    """The document that a Markdown text is, as a block of type ``document``.

    Args:
        markdown: CommonMark with GFM's tables, tasks and strikethrough. What blocks cannot say (raw HTML, definitions,
            front matter) becomes blocks of type ``source``, which are written again as they are.
        known: The blocks that the text was once written from, as ``export_markdown`` told them: those that are found
            again, changed or moved, keep their ids. All others have the id None.

    Raises:
        TooLargeError: If it is over ``MARKDOWN_BYTES``.
    """
    size = len(markdown) if markdown.isascii() else len(markdown.encode("utf-8", "replace"))
    if size > MARKDOWN_BYTES:
        raise TooLargeError("Markdown", size, MARKDOWN_BYTES)
    front, body = split_front_matter(_normal(markdown))
    children = _Reader().read(parse(body))
    if front:
        children = (_source(front.rstrip("\n"), "front_matter"), *children)
    return with_ids(BlockSpec(types.DOCUMENT, {}, (), children), known)


def _normal(markdown: str) -> str:
    """With one kind of line end, and without NUL (CommonMark 0.31, section 2.3)."""
    return markdown.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")


def _source(text: str, kind: str) -> BlockSpec:
    return BlockSpec(types.SOURCE, {"kind": kind}, (Run(text),) if text else ())


@dataclass(slots=True)
class _Open:
    """A container that is being read."""

    type: str
    properties: dict[str, Property] = field(default_factory=dict)
    text: Text = ()
    children: list[BlockSpec] = field(default_factory=list)
    takes_text: bool = False
    """Whether the next paragraph is its own text: the first one of a quote or list item is."""
    loose: bool = False
    """Of a list: whether its paragraphs stand apart."""

    def closed(self) -> BlockSpec:
        return BlockSpec(self.type, self.properties, self.text, tuple(self.children))


_LIST = "list"
"""An open list; its items become children of what is around it."""


class _Reader:
    """Walks the tokens of a text; a container is open from its first token to its last."""

    def __init__(self) -> None:
        self._stack = [_Open(types.DOCUMENT)]

    def read(self, tokens: list[Token]) -> tuple[BlockSpec, ...]:
        for at, token in enumerate(tokens):
            match token.type:
                case "inline":
                    self._inline(tokens[at - 1], token)
                case "fence" | "code_block":
                    self._add(_code(token))
                case "hr":
                    self._add(BlockSpec(types.DIVIDER))
                case "html_block":
                    self._html(token.content.rstrip("\n"))
                case "kept":
                    self._add(_source(token.content, token.info))
                case _:
                    self._container(token)
        return tuple(self._stack[0].children)

    def _add(self, block: BlockSpec) -> None:
        parent = self._stack[-1]
        parent.takes_text = False
        parent.children.append(block)

    def _html(self, content: str) -> None:
        if content == EMPTY:
            self._paragraph(())
        else:
            self._add(_source(content, "html"))

    def _inline(self, before: Token, token: Token) -> None:
        match before.type:
            case "paragraph_open":
                if not before.hidden and len(self._stack) > 1 and self._stack[-2].type == _LIST:
                    self._stack[-2].loose = True
                self._paragraph(read_inline(token))
            case "heading_open":
                self._add(BlockSpec(types.HEADING, {"level": int(before.tag[1:])}, read_inline(token)))
            case _:
                self._add(BlockSpec(types.TABLE_CELL, {}, read_inline(token)))

    def _paragraph(self, text: Text) -> None:
        parent = self._stack[-1]
        if parent.takes_text:
            parent.takes_text = False
            parent.text = text
        else:
            parent.children.append(_image(text) or BlockSpec(types.PARAGRAPH, {}, text))

    def _container(self, token: Token) -> None:
        name, _, end = token.type.rpartition("_")
        if end == "close":
            self._close(name)
        else:
            self._open(name, token)

    def _open(self, name: str, token: Token) -> None:
        match name:
            case "blockquote":
                self._stack.append(_Open(types.QUOTE, takes_text=True))
            case "bullet_list" | "ordered_list":
                self._stack.append(_Open(_LIST, _list_properties(name, token)))
            case "list_item":
                self._stack.append(_item(self._stack[-1], token))
            case "table":
                self._stack.append(_Open(types.TABLE))
            case "tr":
                self._stack.append(_Open(types.TABLE_ROW))
            case "th":
                self._stack[-2].properties.setdefault("align", "")
                align = str(token.attrs.get("style", "")).removeprefix("text-align:")
                self._stack[-2].properties["align"] = f"{self._stack[-2].properties['align']},{align}"

    def _close(self, name: str) -> None:
        match name:
            case "blockquote" | "list_item" | "tr":
                closed = self._stack.pop().closed()
                self._add(closed)
            case "bullet_list" | "ordered_list":
                items = self._stack.pop()
                for item in items.children:
                    self._add(_loose(item) if items.loose else item)
            case "table":
                table = self._stack.pop()
                align = str(table.properties.pop("align"))[1:]
                if align.strip(","):
                    table.properties["align"] = align
                self._add(table.closed())


def _list_properties(name: str, token: Token) -> dict[str, Property]:
    properties: dict[str, Property] = {}
    if name == "ordered_list":
        properties["ordered"] = True
        start = int(token.attrs.get("start", 1))
        if start != 1:
            properties["start"] = start
    if token.markup not in "-.":
        properties["marker"] = token.markup
    return properties


def _item(items: _Open, token: Token) -> _Open:
    """An open item; the first one of a list has its start."""
    item = _Open(types.LIST_ITEM, dict(items.properties), takes_text=True)
    items.properties.pop("start", None)
    if CHECKED in token.meta:
        item.type = types.TASK
        if token.meta[CHECKED]:
            item.properties["checked"] = True
    return item


def _loose(item: BlockSpec) -> BlockSpec:
    return replace(item, properties={**item.properties, "loose": True})


def _image(text: Text) -> BlockSpec | None:
    """A paragraph that is one image is an image."""
    if len(text) != 1 or isinstance(text[0].insert, str) or text[0].marks:
        return None
    return BlockSpec(types.IMAGE, dict(text[0].insert[IMAGE]))


def _code(token: Token) -> BlockSpec:
    info = unescapeAll(token.info).split(maxsplit=1)
    if len(token.info) > INFO_MAX:
        return _source(f"{token.markup}{token.info}\n{token.content}{token.markup}", "html")
    properties: dict[str, Property] = dict(zip(("language", "meta"), (word.strip() for word in info), strict=False))
    content = token.content
    text = content if not content.strip("\n") else content.removesuffix("\n")
    return BlockSpec(types.CODE, properties, (Run(text),) if text else ())
