"""Random trees of blocks in the form that reading Markdown gives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from collabkernel.document.block_spec import BlockSpec, Run, Text, join

_LETTERS = st.sampled_from(
    [*"ab x1é“漢😀", *"*_`[]<>&!#-+=~|\\.():\"'", "\t", "\u00a0", "-", "* ", "1. ", "  ", "&amp;"]
)
_WORDS = st.lists(_LETTERS, min_size=1, max_size=8).map("".join)
_LINES = st.lists(st.one_of(_LETTERS, st.just("\n")), min_size=1, max_size=8).map("".join)
_ADDRESSES = st.sampled_from(["/u", "https://x.y/a_b*c?d=1&amp;e", "#", "a b", "(", "a(b)", "<", "\\", "", "a\nb", "|"])
_TITLES = st.sampled_from(['say "it"', "\\", "a\nb", "&amp;", "it's"])
_STYLES = st.dictionaries(st.sampled_from(["bold", "italic", "strike"]), st.just(True))
_IMAGES = st.builds(
    lambda src, alt, title: {"image": {"src": src, "alt": alt} | ({"title": title} if title else {})},
    _ADDRESSES,
    st.one_of(st.just(""), _WORDS),
    st.one_of(st.none(), _TITLES),
)


@st.composite
def _runs(draw: st.DrawFn, words: st.SearchStrategy[str]) -> list[Run]:
    marks: dict[str, Any] = dict(draw(_STYLES))
    if draw(st.integers(0, 3)) == 0:
        marks["link"] = draw(_ADDRESSES)
        if draw(st.booleans()):
            marks["link_title"] = draw(_TITLES)
    match draw(st.integers(0, 9)):
        case 0:
            return [Run(draw(_WORDS), {**marks, "code": True})]
        case 1:
            sources = ["<b>", "</b>"] if "link" in marks else ["<b>", "</b>", "[^1]"]
            return [Run("x", marks), Run(draw(st.sampled_from(sources)), {**marks, "source": True})]
        case 2:
            return [Run(draw(_IMAGES), marks)]
        case _:
            text = draw(words)
            # Spaces at the ends of emphasis are written outside of it.
            return [Run(text if marks.keys() <= {"link", "link_title"} else text.strip(" \t\n") or "x", marks)]


@st.composite
def texts(draw: st.DrawFn, *, in_lines: bool = True, can_be_empty: bool = True) -> Text:
    """The text of a block; ``in_lines`` where line breaks may show."""
    parts = draw(st.lists(_runs(_LINES if in_lines else _WORDS), min_size=0 if can_be_empty else 1, max_size=4))
    runs = [run for part in parts for run in part]
    if in_lines and len(parts) > 1 and draw(st.integers(0, 3)) == 0:
        runs.insert(1, Run("\n", {**_common(runs[0], runs[1]), "hard_break": True}))
    return join(runs)


def _common(one: Run, other: Run) -> dict[str, Any]:
    """The marks that a break between two runs has."""
    marks = {mark: value for mark, value in one.marks.items() if mark not in ("code", "source")}
    shared = {mark: value for mark, value in marks.items() if other.marks.get(mark) == value}
    if one.marks.get("link") != other.marks.get("link") or one.marks.get("link_title") != other.marks.get("link_title"):
        shared.pop("link", None)
        shared.pop("link_title", None)
    return shared


def _is_paragraph(text: Text) -> bool:
    """Whether a text makes a paragraph, and not an image."""
    return len(text) != 1 or isinstance(text[0].insert, str) or bool(text[0].marks)


_PARAGRAPHS = texts().filter(_is_paragraph).map(lambda text: BlockSpec("paragraph", {}, text))
_HEADINGS = st.builds(
    lambda level, text: BlockSpec("heading", {"level": level}, text), st.integers(1, 6), texts(in_lines=False)
)
_CODES = st.builds(
    lambda language, meta, text: BlockSpec(
        "code",
        ({"language": language} if language else {}) | ({"meta": meta} if language and meta else {}),
        (Run(text),) if text else (),
    ),
    st.sampled_from(["", "python", "~x", "a`b", "&amp;", "\\*"]),
    st.sampled_from(["", "x = 1", "`{2}`"]),
    st.lists(st.sampled_from(["a", " ", "\n", "```", "~~~", "\t", "> ", "- ", "\\"]), max_size=6).map("".join),
)
_BLOCK_IMAGES = _IMAGES.map(lambda embed: BlockSpec("image", embed["image"]))
_SOURCES = st.sampled_from(
    [
        BlockSpec("source", {"kind": "html"}, (Run("<div>\n  *a*\n</div>"),)),
        BlockSpec("source", {"kind": "html"}, (Run("<!-- a\n\nb -->"),)),
        BlockSpec("source", {"kind": "reference"}, (Run("[a]: /u 'b'"),)),
        BlockSpec("source", {"kind": "footnote"}, (Run("[^1]: a\n\n    b"),)),
    ]
)
_DIVIDERS = st.just(BlockSpec("divider"))
_CELLS = texts(in_lines=False).map(lambda text: BlockSpec("table_cell", {}, text))


@st.composite
def _tables(draw: st.DrawFn) -> BlockSpec:
    width = draw(st.integers(1, 3))
    row = st.lists(_CELLS, min_size=width, max_size=width).map(lambda cells: BlockSpec("table_row", {}, (), (*cells,)))
    rows = draw(st.lists(row, min_size=1, max_size=3))
    align = ",".join(draw(st.lists(st.sampled_from(["", "left", "center", "right"]), min_size=width, max_size=width)))
    return BlockSpec("table", {"align": align} if align.strip(",") else {}, (), tuple(rows))


@st.composite
def _lists(draw: st.DrawFn, blocks: st.SearchStrategy[list[BlockSpec]]) -> list[BlockSpec]:
    """The items of one list. A loose one has a blank line, so two paragraphs somewhere."""
    is_loose = draw(st.booleans())
    items = draw(st.lists(_items(blocks, is_loose=is_loose), min_size=2 if is_loose else 1, max_size=3))
    ordered = draw(st.booleans())
    shared: dict[str, Any] = {"ordered": True} if ordered else {}
    marker = draw(st.sampled_from(["", ")"] if ordered else ["", "*", "+"]))
    shared |= ({"marker": marker} if marker else {}) | ({"loose": True} if is_loose else {})
    start = draw(st.sampled_from([1, 0, 7, 999_999_998])) if ordered else 1
    return [
        replace(item, properties={**item.properties, **shared, **({"start": start} if start != 1 and not at else {})})
        for at, item in enumerate(items)
    ]


@st.composite
def _items(draw: st.DrawFn, blocks: st.SearchStrategy[list[BlockSpec]], *, is_loose: bool) -> BlockSpec:
    if draw(st.booleans()):
        type, properties = "task", ({"checked": True} if draw(st.booleans()) else {})
    else:
        type, properties = "list_item", {}
    text = draw(texts(can_be_empty=not is_loose))
    if is_loose:
        children = draw(blocks)
    else:
        children = draw(st.sampled_from([[], [], [BlockSpec("code", {}, (Run("a\n\nb"),))], [BlockSpec("divider")]]))
        children += draw(st.one_of(st.just([]), st.just([BlockSpec("heading", {"level": 2}, (Run("h"),))])))
    return BlockSpec(type, properties, text, tuple(children))


def _quotes(blocks: st.SearchStrategy[list[BlockSpec]]) -> st.SearchStrategy[BlockSpec]:
    return st.builds(lambda text, children: BlockSpec("quote", {}, text, tuple(children)), texts(), blocks)


_LEAVES = st.one_of(_PARAGRAPHS, _PARAGRAPHS, _HEADINGS, _CODES, _BLOCK_IMAGES, _SOURCES, _DIVIDERS, _tables())


def _flat(groups: list[list[BlockSpec]]) -> list[BlockSpec]:
    """Blocks in a row; no list follows one that would be the same."""
    blocks: list[BlockSpec] = []
    for group in groups:
        if blocks and _is_item(group[0]) and _is_item(blocks[-1]):
            blocks.append(BlockSpec("paragraph", {}, (Run("between"),)))
        blocks += group
    return blocks


def _is_item(block: BlockSpec) -> bool:
    return block.type in ("list_item", "task")


def _more(blocks: st.SearchStrategy[list[BlockSpec]]) -> st.SearchStrategy[list[BlockSpec]]:
    group = st.one_of(_LEAVES.map(lambda leaf: [leaf]), _quotes(blocks).map(lambda quote: [quote]), _lists(blocks))
    return st.lists(group, max_size=3).map(_flat)


blocks = st.recursive(st.lists(_LEAVES, max_size=2), _more, max_leaves=8)
documents = blocks.map(lambda children: BlockSpec("document", {}, (), tuple(children)))
