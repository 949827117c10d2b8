"""Runs with marks as Markdown.

Delimiters open and close where CommonMark's rules on flanking let them (0.31, section 6.2). Where they would not, the
character beside them is written as an entity, and emphasis that follows other emphasis directly has the other sign.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from markdown_it.common.utils import MD_TRIM_CHARS
from markdown_it.rules_inline.autolink import AUTOLINK_RE, EMAIL_RE

from collabkernel.document.block_spec import (
    BOLD,
    CODE,
    EMBED_CHAR,
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
from collabkernel.document.markdown.escapes import (
    address,
    begins_html,
    code_span,
    entity,
    escape,
    guard_line,
    is_space,
    is_word,
    title,
)
from collabkernel.document.markdown.inline_read import read_inline
from collabkernel.document.markdown.parser import parse_inline
from collabkernel.document.markdown.words import TASK_MARK

_DELIMITED = (ITALIC, BOLD, STRIKE, LINK)
"""Marks with delimiters around them; of those that begin and end together the first is outermost."""
_FLANKED = frozenset({ITALIC, BOLD, STRIKE})
"""Marks whose delimiters have no space on their inner side."""
_VERBATIM = frozenset({CODE, SOURCE})
_SPACES = " \t\n"
_WIDTH = {ITALIC: 1, BOLD: 2}
_LINKING = re.compile(r"\](?:[(\[:]|\0.)")
"""What makes brackets a link: an address or label behind them, also across runs."""
_EDGE_SPACE = re.compile(r"\n(?=\n)|[ \t](?=\n)|(?<=\n)[ \t]")


@dataclass(slots=True)
class _Piece:
    """A part of what is written."""

    source: str
    kind: str
    """``text``, ``opener`` or ``closer`` (of emphasis or strikethrough), ``break`` or ``other``."""


Place = Literal["paragraph", "item", "task", "line"]
"""Where a text stands: in lines of its own, at the beginning of a list item, behind a task's box, or in one line
(a heading's, a cell's), where line breaks cannot be written as such."""


def write_inline(text: Text, place: Place = "paragraph", *, links: bool = True) -> str:
    """The text as Markdown: lines none of which begins another block.

    Args:
        text: What is written.
        place: Where it stands.
        links: Whether the document has definitions, which make links of mere brackets.
    """
    in_lines = place != "line"
    writer = _Writer(text, links, alternates=False)
    source = writer.source(in_lines)
    if writer.is_nested and read_inline(parse_inline(source)) != writer.text:
        source = _Writer(text, links, alternates=True).source(in_lines)
    if not in_lines:
        return source
    if place == "item" and TASK_MARK.match(source):
        source = f"\\{source}"
    first, *others = source.split("\n")
    if place != "task" and begins_html(first, in_paragraph=False):
        # There is no other way to begin a paragraph with HTML that would be a block.
        first = entity(" ") + first
    return "\n".join((guard_line(first), *map(_continuation, others)))


def _in_line(piece: _Piece) -> str:
    source = piece.source.replace("\\", "") if piece.kind == "break" else piece.source
    return source.replace("\n", entity("\n"))


def _continuation(line: str) -> str:
    """A line that goes on with a paragraph. An indented one always does, where HTML would begin a block of its own."""
    return f"    {line}" if begins_html(line, in_paragraph=True) else guard_line(line)


class _Writer:
    """Makes the pieces of a text, with a stack of the marks that are open.

    An opening delimiter in the middle of things may close what is open as well, and CommonMark's rule of three does not
    always forbid it. Where it would, the writer ``alternates``: emphasis within emphasis has the other sign.
    """

    def __init__(self, text: Text, links: bool, *, alternates: bool) -> None:
        self._runs = self.text = _settled(text)
        self._alternates = alternates
        self.is_nested = False
        """Whether there was emphasis within emphasis."""
        words = "\0".join(run.insert if isinstance(run.insert, str) else "[" for run in self._runs)
        self._brackets = links or _LINKING.search(words) is not None
        self._pieces: list[_Piece] = []
        self._open: list[tuple[str, tuple[Property, ...], str]] = []
        """Mark, its value, and what closes it."""

    def source(self, in_lines: bool) -> str:
        """What is written."""
        pieces = self._made()
        _guard_edges(pieces, in_lines)
        _guard_flanks(pieces)
        return "".join(piece.source if in_lines else _in_line(piece) for piece in pieces)

    def _made(self) -> list[_Piece]:
        for at, run in enumerate(self._runs):
            self._close_to(self._kept(run.marks))
            if self._is_autolink(at):
                self._pieces.append(_Piece(f"<{run.insert}>", "other"))
                continue
            for mark in self._opening(at):
                self._open_mark(mark, run.marks)
            self._pieces.append(self._content(run))
        self._close_to(0)
        return self._pieces

    def _kept(self, marks: Mapping[str, Property]) -> int:
        """How many of the open marks this run has as well, from the outermost one."""
        for depth, (mark, value, _) in enumerate(self._open):
            if _value(marks, mark) != value:
                return depth
        return len(self._open)

    def _close_to(self, depth: int) -> None:
        while len(self._open) > depth:
            mark, _, closing = self._open.pop()
            self._pieces.append(_Piece(closing, "other" if mark == LINK else "closer"))

    def _opening(self, at: int) -> list[str]:
        """Marks that begin with a run, the longest outermost."""
        marks = self._runs[at].marks
        open_now = {mark for mark, _, _ in self._open}
        new = [mark for mark in _DELIMITED if mark in marks and mark not in open_now]
        return new if len(new) < 2 else sorted(new, key=lambda mark: -self._extent(at, mark))

    def _extent(self, at: int, mark: str) -> int:
        value, end = _value(self._runs[at].marks, mark), at
        while end < len(self._runs) and _value(self._runs[end].marks, mark) == value:
            end += 1
        return end

    def _open_mark(self, mark: str, marks: Mapping[str, Property]) -> None:
        if mark == LINK:
            href, words = str(marks[LINK]), marks.get(LINK_TITLE)
            closing = f"]({address(href)} {title(str(words))})" if words else f"]({address(href)})"
            self._pieces.append(_Piece("[", "other"))
        elif mark == STRIKE:
            closing = "~~"
            self._pieces.append(_Piece(closing, "opener"))
        else:
            outer = next((sign for name, _, sign in self._open if name in _WIDTH), None)
            self.is_nested = self.is_nested or outer is not None
            sign = ("_" if outer[0] == "*" else "*") if outer and self._alternates else self._emphasis_sign()
            closing = sign * _WIDTH[mark]
            self._pieces.append(_Piece(closing, "opener"))
        self._open.append((mark, _value(marks, mark), closing))

    def _emphasis_sign(self) -> str:
        """The sign of a delimiter: not that of one which closes right here, and that of one which opens here."""
        last = self._pieces[-1] if self._pieces else None
        if last is None or last.source[-1:] not in ("*", "_"):
            return "*"
        if last.kind == "opener":
            return last.source[-1]
        return ("_" if last.source[-1] == "*" else "*") if last.kind == "closer" else "*"

    def _content(self, run: Run) -> _Piece:
        marks = run.marks
        if not isinstance(run.insert, str):
            return _Piece(_embed(run.insert), "other")
        if HARD_BREAK in marks:
            return _Piece("\\\n" * len(run.insert), "break")
        if SOURCE in marks:
            return _Piece(run.insert, "other")
        if CODE in marks:
            return _Piece(code_span(run.insert), "other")
        return _Piece(escape(run.insert, brackets=self._brackets or LINK in marks), "text")

    def _is_autolink(self, at: int) -> bool:
        """Whether a run is its own address and nothing else."""
        run = self._runs[at]
        if LINK not in run.marks or not isinstance(run.insert, str) or len(run.marks) > 1 + len(self._open):
            return False
        if LINK in (mark for mark, _, _ in self._open) or any(mark in run.marks for mark in (CODE, SOURCE, LINK_TITLE)):
            return False
        following = self._runs[at + 1].marks if at + 1 < len(self._runs) else NOTHING
        if _value(following, LINK) == _value(run.marks, LINK):
            return False
        href = run.marks[LINK]
        return (href == run.insert and AUTOLINK_RE.fullmatch(run.insert) is not None) or (
            href == f"mailto:{run.insert}" and EMAIL_RE.fullmatch(run.insert) is not None
        )


def _value(marks: Mapping[str, Property], mark: str) -> tuple[Property, ...]:
    """A mark's value; a link's is its address and title."""
    if mark not in marks:
        return ()
    return (marks[mark], marks.get(LINK_TITLE)) if mark == LINK else (True,)


def _settled(text: Text) -> Text:
    """The runs with what cannot be written put right: spaces and breaks at the ends of what is marked."""
    runs = _outside([_without_link_title(run) for run in join(text)])
    settled: list[Run] = []
    for at, run in enumerate(runs):
        if HARD_BREAK not in run.marks or not isinstance(run.insert, str):
            settled.append(run)
            continue
        before = runs[at - 1].marks if at else NOTHING
        after = runs[at + 1].marks if at + 1 < len(runs) else NOTHING
        around = {mark: value for mark, value in run.marks.items() if _is_through(mark, before, after)}
        is_inside = at < len(runs) - 1
        settled.append(Run(run.insert, {**around, HARD_BREAK: True} if is_inside else around))
    return join(settled)


def _outside(runs: list[Run]) -> list[Run]:
    """Spaces at an end of emphasis put outside of it, where nobody sees a difference."""
    if not any(_is_spaced(run) for run in runs):
        return runs
    parts = [part for run in runs for part in (_split_spaces(run) if _is_spaced(run) else (run,))]
    loose = [_is_spaced(part) and not str(part.insert).strip(_SPACES) for part in parts]
    solid = [at for at, is_loose in enumerate(loose) if not is_loose]
    moved: list[Run] = []
    following = 0
    for at, part in enumerate(parts):
        while following < len(solid) and solid[following] < at:
            following += 1
        if loose[at]:
            before = parts[solid[following - 1]].marks if following else NOTHING
            after = parts[solid[following]].marks if following < len(solid) else NOTHING
            kept = {
                mark: value
                for mark, value in part.marks.items()
                if mark not in _FLANKED or (mark in before and mark in after)
            }
            moved.append(Run(part.insert, kept))
        else:
            moved.append(part)
    return list(join(moved))


def _is_spaced(run: Run) -> bool:
    """Whether a run with emphasis begins or ends with a space."""
    if not isinstance(run.insert, str) or _FLANKED.isdisjoint(run.marks) or not _VERBATIM.isdisjoint(run.marks):
        return False
    return run.insert[0] in _SPACES or run.insert[-1] in _SPACES


def _split_spaces(run: Run) -> list[Run]:
    words = str(run.insert)
    first = len(words) - len(words.lstrip(_SPACES))
    last = max(len(words.rstrip(_SPACES)), first)
    return [Run(part, run.marks) for part in (words[:first], words[first:last], words[last:]) if part]


def _is_through(mark: str, before: Mapping[str, Property], after: Mapping[str, Property]) -> bool:
    name = LINK if mark == LINK_TITLE else mark
    return name in _DELIMITED and name in before and _value(before, name) == _value(after, name)


def _without_link_title(run: Run) -> Run:
    if LINK_TITLE in run.marks and LINK not in run.marks:
        return Run(run.insert, {mark: value for mark, value in run.marks.items() if mark != LINK_TITLE})
    return run


def _embed(embed: Mapping[str, Any]) -> str:
    image = embed.get(IMAGE)
    return write_image(image) if isinstance(image, Mapping) else EMBED_CHAR


def write_image(image: Mapping[str, Any]) -> str:
    """An image, within a text or as a block of its own."""
    alt = _trimmed(escape(str(image.get("alt", "")), brackets=True)).replace("\n", entity("\n"))
    words = f" {title(str(image['title']))}" if image.get("title") else ""
    return f"![{alt}]({address(str(image.get('src', '')))}{words})"


def _trimmed(source: str) -> str:
    """Spaces at the ends as entities, since Markdown trims them."""
    if source and source[0] in MD_TRIM_CHARS:
        source = entity(source[0]) + source[1:]
    if source and source[-1] in MD_TRIM_CHARS:
        source = source[:-1] + entity(source[-1])
    return source


def _guard_edges(pieces: list[_Piece], lines: bool) -> None:
    """Write spaces that Markdown would trim, or that keep a delimiter from its work, as entities."""
    for at, piece in enumerate(pieces):
        if piece.kind != "text":
            continue
        if lines and "\n" in piece.source:
            piece.source = _EDGE_SPACE.sub(lambda match: entity(match[0]), piece.source)
        before = pieces[at - 1] if at else None
        after = pieces[at + 1] if at + 1 < len(pieces) else None
        if _is_space_unsafe(piece.source[0], before, "opener"):
            piece.source = entity(piece.source[0]) + piece.source[1:]
        if _is_space_unsafe(piece.source[-1], after, "closer"):
            piece.source = piece.source[:-1] + entity(piece.source[-1])
        if after is not None and piece.source[-1] == "!" and after.source[:1] == "[":
            piece.source = f"{piece.source[:-1]}\\!"


def _is_space_unsafe(character: str, neighbour: _Piece | None, delimiter: str) -> bool:
    if not (is_space(character) or character in MD_TRIM_CHARS):
        return False
    return neighbour is None or neighbour.kind in (delimiter, "break")


def _guard_flanks(pieces: list[_Piece]) -> None:
    """Write the letter beside a delimiter as an entity where there is punctuation on its other side."""
    at = 0
    while at < len(pieces):
        if pieces[at].kind not in ("opener", "closer"):
            at += 1
            continue
        end = at + 1
        while end < len(pieces) and pieces[end].kind == pieces[at].kind and _same_sign(pieces[at], pieces[end]):
            end += 1
        _guard_flank(pieces, at, end)
        at = end


def _same_sign(first: _Piece, second: _Piece) -> bool:
    return first.source[0] == second.source[0]


def _guard_flank(pieces: list[_Piece], at: int, end: int) -> None:
    before = pieces[at - 1] if at else None
    after = pieces[end] if end < len(pieces) else None
    left = before.source[-1:] if before else ""
    right = after.source[:1] if after else ""
    sign = pieces[at].source[0]
    if not left or not right:
        return
    if pieces[at].kind == "opener":
        if before and before.kind == "text" and is_word(left) and (not is_word(right) or sign == "_"):
            before.source = before.source[:-1] + entity(left)
    elif after and after.kind == "text" and is_word(right) and (not is_word(left) or sign == "_"):
        after.source = entity(right) + after.source[1:]
