"""CommonMark with GFM's tables and strikethrough, as markdown-it reads it, and what of it we change.

Ours: a link reference definition and a footnote are tokens of their own, for they must not be lost; front matter is cut
off before; what is nested too deep, or a table whose rows have more cells than its header, is one token with its
source; and addresses are not rewritten, so that what is written again is what was read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, reference, table
from markdown_it.rules_block.table import escapedSplit
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from collabkernel.document.markdown.words import TASK_MARK
from collabkernel.limits import MARKDOWN_DEPTH, MARKDOWN_INLINE_BYTES

TABLE_MISSING_MAX = 10_000
"""Cells of a text that are not there and are filled up: tables that people write have a few."""
_MISSING = "missing"
"""Key of their count in the parser's environment."""
KEPT = "kept"
"""Type of the tokens whose ``content`` is a source, and ``info`` the kind of a source block."""
CHECKED = "checked"
"""Key in a list item token's ``meta``: it is a task, done or not."""
UNREAD = "unread"
"""Key in an inline token's ``meta``: its content is too long to be read."""

BRACKETS_MAX = 50
"""Brackets within brackets that are read as links and images: each is a call within a call."""
_BRACKETS = re.compile(r"[\[\]]")
_MARKUP = re.compile(r"[\\`*_~\[\]<&]")
_FOOTNOTE = re.compile(r"\[\^[^\s\[\]]{1,200}\]")
_DROPPED = re.compile(r"[\x00-\x20]+")
_FRONT_MATTER = re.compile(r"---[ \t]*\n(?!---|\.\.\.)(?=[^\n]*[^\s\n])(?:.*\n)*?(?:---|\.\.\.)[ \t]*(?:\n|\Z)")

BlockRule = Callable[[StateBlock, int, int, bool], bool]


def split_front_matter(source: str) -> tuple[str, str]:
    """The front matter with its fences (or nothing), and the rest. Its first line is not blank, as a rule's next is."""
    match = _FRONT_MATTER.match(source)
    return (match[0], source[match.end() :]) if match else ("", source)


def parse(source: str) -> list[Token]:
    """The tokens of a Markdown text without front matter."""
    return _parser().parse(source)


def parse_inline(source: str) -> Token:
    """The inline token of a paragraph that is all there is."""
    (token,) = _parser().parseInline(source)
    return token


class _Parser(MarkdownIt):
    """markdown-it that leaves addresses as they are written."""

    def normalizeLink(self, url: str) -> str:  # noqa: N802  # the library's name
        return url

    def normalizeLinkText(self, link: str) -> str:  # noqa: N802  # the library's name
        return link

    def validateLink(self, url: str) -> bool:  # noqa: N802  # the library's name
        """Whether it is a link at all: no script, nor one hidden by signs that a browser drops."""
        return super().validateLink(_DROPPED.sub("", url))


@cache
def _parser() -> MarkdownIt:
    parser = _Parser("commonmark", {"maxNesting": MARKDOWN_DEPTH + 10}).enable(["table", "strikethrough"])
    rules = parser.block.ruler
    rules.before("table", "deep", _deep)
    rules.at("table", _whole_table, {"alt": ["paragraph", "reference"]})
    rules.at("reference", _kept_reference)
    rules.before("reference", "footnote", _footnote)
    parser.inline.ruler.before("link", "footnote", _footnote_mark)
    parser.core.ruler.at("inline", _inline)
    parser.core.ruler.before("inline", "tasks", _tasks)
    return parser


def _keep(state: StateBlock, start: int, end: int, kind: str) -> None:
    token = state.push(KEPT, "", 0)
    token.content = state.getLines(start, end, state.blkIndent, False)
    token.info = kind
    token.map = [start, end]


def _deep(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Keep all that is left of a container at the deepest level."""
    if silent or state.level < MARKDOWN_DEPTH:
        return False
    _keep(state, start, end, "deep")
    state.line = end
    return True


def _kept_reference(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    if not reference(state, start, end, silent):
        return False
    if not silent:
        _keep(state, start, state.line, "reference")
    return True


def _whole_table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Read a table, unless it has cells that no column shows, or too many that are not there."""
    if silent or not table(state, start, end, True):
        return table(state, start, end, silent)
    if _is_sparse(state, start, end):
        last = next((line for line in range(start, end) if state.isEmpty(line)), end)
        _keep(state, start, last, "html")
        state.line = last
        return True
    before = len(state.tokens)
    table(state, start, end, False)
    if _has_excess(state, start):
        del state.tokens[before:]
        _keep(state, start, state.line, "html")
    return True


def _is_sparse(state: StateBlock, start: int, end: int) -> bool:
    """Whether rows would be filled up with so many cells that a small text becomes a huge tree; counts for the text."""
    width = state.src.count("|", state.bMarks[start], state.eMarks[start])
    missing = 0
    for line in range(start + 2, end):
        if state.isEmpty(line):
            break
        missing += max(0, width - state.src.count("|", state.bMarks[line], state.eMarks[line]) - 1)
    state.env[_MISSING] = state.env.get(_MISSING, 0) + missing
    return bool(state.env[_MISSING] > TABLE_MISSING_MAX)


def _has_excess(state: StateBlock, start: int) -> bool:
    counts = [
        len(escapedSplit(_row(state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]])))
        for line in range(start, state.line)
        if line != start + 1
    ]
    return max(counts) > counts[0]


def _row(line: str) -> str:
    """A row's line without the pipes around it."""
    line = line.strip(" \t").removeprefix("|")
    return line[:-1] if line.endswith("|") and not line.endswith("\\|") else line


def _footnote(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Keep a footnote: its first paragraph, and what is indented below it."""
    position = state.bMarks[start] + state.tShift[start]
    if silent or state.is_code_block(start) or not state.src.startswith("[^", position):
        return False
    match = _FOOTNOTE.match(state.src, position, state.eMarks[start])
    if match is None or state.src[match.end() : match.end() + 1] != ":":
        return False
    line = start + 1
    while line < end and _continues_footnote(state, line):
        line += 1
    while state.isEmpty(line - 1):
        line -= 1
    _keep(state, start, line, "footnote")
    state.line = line
    return True


def _continues_footnote(state: StateBlock, line: int) -> bool:
    if state.isEmpty(line):
        return True
    indent = state.sCount[line] - state.blkIndent
    if indent < 0:
        return False
    if state.isEmpty(line - 1):
        return indent >= 4
    rules: list[BlockRule] = state.md.block.ruler.getRules("paragraph")
    return not any(rule(state, line, state.lineMax, True) for rule in rules)


def _footnote_mark(state: StateInline, silent: bool) -> bool:
    """The place of a footnote in a text."""
    match = _FOOTNOTE.match(state.src, state.pos, state.posMax) if state.src[state.pos] == "[" else None
    if match is None:
        return False
    if not silent:
        state.push(KEPT, "", 0).content = match[0]
    state.pos = match.end()
    return True


def _tasks(state: StateCore) -> None:
    """Note which list items are tasks, and take their boxes off."""
    for item, opening, text in zip(state.tokens, state.tokens[1:], state.tokens[2:], strict=False):
        if item.type != "list_item_open" or opening.type != "paragraph_open":
            continue
        if match := TASK_MARK.match(text.content):
            item.meta[CHECKED] = match[1] != " "
            text.content = text.content[match.end() :]


def _inline(state: StateCore) -> None:
    """Read the markup of each inline token; most have none, and keep ``children`` empty."""
    for token in state.tokens:
        if token.type != "inline" or not _MARKUP.search(token.content):
            continue
        if _is_hostile(token.content):
            token.meta[UNREAD] = True
            continue
        token.children = token.children or []
        state.md.inline.parse(token.content, state.md, state.env, token.children)


def _is_hostile(content: str) -> bool:
    """Whether reading a paragraph's markup could take very long, or nest too deep."""
    if len(content) - content.count("\\") > MARKDOWN_INLINE_BYTES:
        return True
    depth = 0
    for bracket in _BRACKETS.findall(content) if content.count("[") > BRACKETS_MAX else ():
        depth += 1 if bracket == "[" else -1
        if depth > BRACKETS_MAX:
            return True
    return False
