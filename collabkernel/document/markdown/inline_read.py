"""The markup of one paragraph, heading or cell, from markdown-it's tokens to runs with marks."""

from __future__ import annotations

import re
from typing import Any

from markdown_it.token import Token

from collabkernel.document.block_spec import (
    BOLD,
    CODE,
    HARD_BREAK,
    IMAGE,
    ITALIC,
    LINK,
    LINK_TITLE,
    NOTHING,
    SOURCE,
    STRIKE,
    Property,
    Run,
    Text,
    join,
)
from collabkernel.document.markdown.parser import UNREAD

EMBED_BYTES_MAX = 12 << 10
"""An inline image's record: an embed of a rope is at most 16 KB; larger ones are ``data:`` URLs, kept as source."""
LINK_BYTES_MAX = 3 << 10
"""A link's address or title: a format of a rope is at most 4 KB."""

_MARK_BY_TOKEN = {"strong": BOLD, "em": ITALIC, "s": STRIKE}
_LINE_END = re.compile(r"( *)\n[ \t]*")


class _UnsayableError(Exception):
    """Markup that marks do not say, such as emphasis within emphasis."""


def read_inline(token: Token) -> Text:
    """The text of an inline token. Markup that marks do not say is one run with the mark ``source``."""
    if not token.content:
        return ()
    if token.meta.get(UNREAD):
        return _source(token.content)
    if not token.children:
        return _unmarked(token.content)
    try:
        return join(_Runs().read(token.children))
    except _UnsayableError:
        return _source(token.content)


def _source(content: str) -> Text:
    return (Run(content, {SOURCE: True}),)


def _unmarked(content: str) -> Text:
    """Text without markup: line breaks alone."""
    if "\n" not in content:
        return (Run(content),)
    parts = _LINE_END.split(content)
    runs = [Run(parts[0])]
    for spaces, line in zip(parts[1::2], parts[2::2], strict=True):
        runs += [Run("\n", {HARD_BREAK: True} if len(spaces) > 1 else NOTHING), Run(line)]
    return join(runs)


class _Runs:
    """The runs of one inline token so far, and the marks that are open."""

    def __init__(self) -> None:
        self._runs: list[Run] = []
        self._marks: dict[str, Property] = {}
        self._link_starts: list[int] = []

    def read(self, tokens: list[Token]) -> list[Run]:
        for token in tokens:
            self._read(token)
        return self._runs

    def _read(self, token: Token) -> None:
        match token.type:
            case "text":
                self._add(token.content)
            case "softbreak":
                self._add("\n")
            case "hardbreak":
                self._add("\n", HARD_BREAK)
            case "code_inline":
                self._add(token.content, CODE)
            case "html_inline" | "kept":
                self._add(token.content, SOURCE)
            case "image":
                self._runs.append(Run({IMAGE: image_record(token)}, dict(self._marks)))
            case "link_open":
                self._open_link(token)
            case "link_close":
                self._close_link()
            case _:
                self._toggle(token)

    def _add(self, content: str, mark: str | None = None) -> None:
        self._runs.append(Run(content, {**self._marks, mark: True} if mark else dict(self._marks)))

    def _toggle(self, token: Token) -> None:
        name, _, end = token.type.rpartition("_")
        mark = _MARK_BY_TOKEN.get(name)
        if mark is None or (end == "open") == (mark in self._marks):
            raise _UnsayableError
        if end == "open":
            self._marks[mark] = True
        else:
            del self._marks[mark]

    def _open_link(self, token: Token) -> None:
        href, title = str(token.attrs.get("href", "")), str(token.attrs.get("title", ""))
        if LINK in self._marks or max(len(href.encode()), len(title.encode())) > LINK_BYTES_MAX:
            raise _UnsayableError
        self._marks[LINK] = href
        if title:
            self._marks[LINK_TITLE] = title
        self._link_starts.append(len(self._runs))

    def _close_link(self) -> None:
        if not any(run.insert for run in self._runs[self._link_starts.pop() :]):
            raise _UnsayableError
        self._marks.pop(LINK)
        self._marks.pop(LINK_TITLE, None)


def image_record(token: Token) -> dict[str, Any]:
    """The embed of an image token."""
    src, title = str(token.attrs.get("src", "")), str(token.attrs.get("title", ""))
    alt = _words(token.children or [])
    if len(src.encode()) + len(alt.encode()) + len(title.encode()) > EMBED_BYTES_MAX:
        raise _UnsayableError
    record = {"src": src, "alt": alt}
    return {**record, "title": title} if title else record


def _words(tokens: list[Token]) -> str:
    """An image's alternative text: its markup without the marks (CommonMark 0.31, section 6.4)."""
    words: list[str] = []
    stack = tokens[::-1]
    while stack:
        token = stack.pop()
        if token.children:
            stack.extend(reversed(token.children))
        else:
            words.append("\n" if token.type in ("softbreak", "hardbreak") else token.content)
    return "".join(words)
