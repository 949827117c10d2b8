"""Text, addresses and titles written so that Markdown reads them as they are, with as few backslashes as do."""

from __future__ import annotations

import re
from functools import cache

from markdown_it.common.utils import isMdAsciiPunct, isPunctChar, isWhiteSpace
from markdown_it.rules_block.html_block import HTML_SEQUENCES

_SPECIAL = re.compile(r"[\\`*_\[\]<&~\r]")
_ENTITY = re.compile(r"&(?:#[xX]?[0-9a-fA-F]+|[A-Za-z][A-Za-z0-9]*)(?:;|$)")
_TAG = re.compile(r"<(?:[A-Za-z/!?]|$)")
_FOOTNOTE = re.compile(r"\[\^[^\s\[\]]+\]")
_PLAIN_ADDRESS = re.compile(r"[^\s<>()\\&\x00-\x20\x7f]+")
_BREAKS = re.compile(r"[\x00-\x20\x7f]")

_LINE_START = re.compile(
    r"""
      (?P<first> \#{1,6}(?=[ \t]|$) | > | [-+](?=[ \t]|$) | [-:|][-:|\s]*$ | =+[ \t]*$ )
    | (?P<number> \d{1,9})(?=[.)](?:[ \t]|$))
    | (?P<footnote> \[\^[^\s\[\]]+\])(?=:)
    """,
    re.VERBOSE,
)


def is_word(character: str) -> bool:
    """Whether a delimiter beside this character is within a word: it is neither a space nor punctuation."""
    code = ord(character)
    return not (isWhiteSpace(code) or isMdAsciiPunct(code) or isPunctChar(character))


def is_space(character: str) -> bool:
    """Whether a delimiter beside this character is beside a space."""
    return isWhiteSpace(ord(character)) or character in "\u2028\u2029"


@cache
def entity(character: str) -> str:
    """A character that Markdown reads, and does not act upon."""
    return f"&#{ord(character)};"


def escape(text: str, *, brackets: bool) -> str:
    """Text without markup, but for spaces at its ends and what only a line's start makes special.

    Args:
        text: Of one run.
        brackets: Whether brackets could make a link: there is an address behind one, or a definition somewhere.
    """
    if not _SPECIAL.search(text):
        return text
    parts: list[str] = []
    end = 0
    for match in _SPECIAL.finditer(text):
        at = match.start()
        parts += (text[end:at], _escaped(text, at, brackets))
        end = at + 1
    return "".join((*parts, text[end:]))


def _escaped(text: str, at: int, brackets: bool) -> str:
    character = text[at]
    match character:
        case "\\":
            # What follows may be written as an entity later: a space, or the last letter.
            acts = at + 2 >= len(text) or not is_word(text[at + 1])
        case "*":
            acts = not _is_between_spaces(text, at, at)
        case "_":
            acts = _underscore_acts(text, at)
        case "[":
            acts = brackets or _FOOTNOTE.match(text, at) is not None
        case "]":
            acts = brackets
        case "<":
            acts = _TAG.match(text, at) is not None
        case "&":
            acts = _ENTITY.match(text, at) is not None
        case "~":
            acts = at in (0, len(text) - 1) or "~" in (text[at - 1], text[at + 1])
        case "\r":
            return entity(character)
        case _:
            acts = True
    return f"\\{character}" if acts else character


def _underscore_acts(text: str, at: int) -> bool:
    """Underscores within a word are no markup, nor are those between spaces."""
    first, last = at, at
    while first > 0 and text[first - 1] == "_":
        first -= 1
    while last < len(text) - 1 and text[last + 1] == "_":
        last += 1
    if first == 0 or last == len(text) - 1:
        return True
    is_in_word = is_word(text[first - 1]) and is_word(text[last + 1])
    return not is_in_word and not _is_between_spaces(text, first, last)


def _is_between_spaces(text: str, first: int, last: int) -> bool:
    """Whether spaces are around, which stay such: at the end of a line or text they may be written as entities."""
    before, after = text[max(first - 2, 0) : first], text[last + 1 : last + 3]
    return len(before) == len(after) == 2 and before[1] == after[0] == " " and "\n" not in before + after


def guard_line(line: str) -> str:
    """A line of a paragraph so that it does not begin another block."""
    match = _LINE_START.match(line)
    if match is None:
        return line
    at = 0 if match["first"] else match.end()
    return f"{line[:at]}\\{line[at:]}"


def begins_html(line: str, *, in_paragraph: bool) -> bool:
    """Whether a line begins a block of HTML; below the first line of a paragraph fewer do."""
    return line.startswith("<") and any(
        begins.search(line) for begins, _, interrupts in HTML_SEQUENCES if interrupts or not in_paragraph
    )


def address(href: str) -> str:
    """An address as a link's destination."""
    if _PLAIN_ADDRESS.fullmatch(href):
        return href
    escaped = _entities_kept(href.replace("\\", "\\\\"))
    if not href or _BREAKS.search(href) or href.startswith("<"):
        escaped = re.sub(r"[<>]", r"\\\g<0>", escaped)
        return f"<{_BREAKS.sub(lambda match: match[0] if match[0] == ' ' else entity(match[0]), escaped)}>"
    return re.sub(r"[()]", r"\\\g<0>", escaped) if not _is_balanced(href) else escaped


def title(words: str) -> str:
    """A link's title, in quotes."""
    escaped = _entities_kept(words.replace("\\", "\\\\").replace('"', '\\"'))
    return '"' + re.sub(r"[\n\r]", lambda match: entity(match[0]), escaped) + '"'


def info(words: str) -> str:
    """A fence's info string."""
    return _entities_kept(" ".join(words.split()).replace("\\", "\\\\"))


def _entities_kept(text: str) -> str:
    return _ENTITY.sub(lambda match: f"&amp;{match[0][1:]}", text)


def _is_balanced(href: str) -> bool:
    depth = 0
    for character in href:
        depth += (character == "(") - (character == ")")
        if not 0 <= depth <= 30:
            return False
    return depth == 0


def code_span(text: str) -> str:
    """A code span: its fence is longer than any within it."""
    text = text.replace("\n", " ").replace("\r", " ")
    runs = set(map(len, re.findall("`+", text)))
    fence = "`" * next(length for length in range(1, len(runs) + 2) if length not in runs)
    pads = text.startswith("`") or text.endswith("`") or (text[0] == text[-1] == " " and text.strip(" ") != "")
    return f"{fence} {text} {fence}" if pads else f"{fence}{text}{fence}"
