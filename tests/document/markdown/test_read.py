"""Markdown into blocks."""

from __future__ import annotations

import pytest

from collabkernel.document.block_spec import BlockSpec, Run, in_order, plain
from collabkernel.document.markdown.read import import_markdown
from collabkernel.document.markdown.write import export_markdown
from collabkernel.errors import TooLargeError
from collabkernel.limits import MARKDOWN_BYTES


def only(markdown: str) -> BlockSpec:
    (block,) = import_markdown(markdown).children
    return block


@pytest.mark.parametrize(
    ("markdown", "block"),
    [
        ("a\nb", BlockSpec("paragraph", {}, (Run("a\nb"),))),
        ("<!-- -->", BlockSpec("paragraph")),
        ("### a ###", BlockSpec("heading", {"level": 3}, (Run("a"),))),
        ("a\nb\n---", BlockSpec("heading", {"level": 2}, (Run("a\nb"),))),
        ("***", BlockSpec("divider")),
        ("    a\n\n    b", BlockSpec("code", {}, (Run("a\n\nb"),))),
        ("```py x=1 y\na\n```", BlockSpec("code", {"language": "py", "meta": "x=1 y"}, (Run("a"),))),
        ("```\n```", BlockSpec("code")),
        ("```\n\n```", BlockSpec("code", {}, (Run("\n"),))),
        ("![a *b*](/u 't')", BlockSpec("image", {"src": "/u", "alt": "a b", "title": "t"})),
        ("<div>\n*a*\n</div>", BlockSpec("source", {"kind": "html"}, (Run("<div>\n*a*\n</div>"),))),
        ("[a]: /u\n  'b'", BlockSpec("source", {"kind": "reference"}, (Run("[a]: /u\n  'b'"),))),
        ("[^a]: b\nc\n\n    d", BlockSpec("source", {"kind": "footnote"}, (Run("[^a]: b\nc\n\n    d"),))),
        ("---\na: 1\n---\n", BlockSpec("source", {"kind": "front_matter"}, (Run("---\na: 1\n---"),))),
        ("> a\n> b", BlockSpec("quote", {}, (Run("a\nb"),))),
        ("> # a", BlockSpec("quote", {}, (), (BlockSpec("heading", {"level": 1}, (Run("a"),)),))),
        ("- [x] a", BlockSpec("task", {"checked": True}, (Run("a"),))),
        ("1. [ ]", BlockSpec("task", {"ordered": True})),
        ("* [x](/u)", BlockSpec("list_item", {"marker": "*"}, (Run("x", {"link": "/u"}),))),
        ("|a|\n|-|\n|b|c|", BlockSpec("source", {"kind": "html"}, (Run("|a|\n|-|\n|b|c|"),))),
    ],
)
def test_each_kind_of_block(markdown: str, block: BlockSpec):
    assert only(markdown) == block


def test_a_list_is_its_items():
    items = import_markdown("3. a\n4. b\n   - c\n\n* d\n\n* e").children

    assert [(item.properties, plain(item.text)) for item in items] == [
        ({"ordered": True, "start": 3}, "a"),
        ({"ordered": True}, "b"),
        ({"marker": "*", "loose": True}, "d"),
        ({"marker": "*", "loose": True}, "e"),
    ]
    assert items[1].children == (BlockSpec("list_item", {}, (Run("c"),)),)


def test_a_table_is_rows_of_cells():
    table = only("| a | b |\n|:-:|---|\n| `c\\|` | \\| |\n| d |")

    assert table.properties == {"align": "center,"}
    cells = [[plain(cell.text) for cell in row.children] for row in table.children]
    assert cells == [["a", "b"], ["c|", "|"], ["d", ""]]


def test_definitions_make_links_and_stay():
    text, definition = import_markdown("[a][B] [b] [c]\n\n[b]: /u 't'").children

    link = {"link": "/u", "link_title": "t"}
    assert text.text == (Run("a", link), Run(" "), Run("b", link), Run(" [c]"))
    assert plain(definition.text) == "[b]: /u 't'"


def test_an_address_that_is_a_script_is_no_link():
    assert only("[a](javascript:b)").text == (Run("[a](javascript:b)"),)
    assert only("[a](<java&#10;script:b>)").text == (Run("[a](<java\nscript:b>)"),)


def test_what_is_nested_too_deep_is_kept_as_its_source():
    quotes = ">" * 200 + " a"
    deepest = only(quotes)
    levels = 0
    while deepest.type == "quote":
        (deepest,) = deepest.children
        levels += 1

    assert levels < 100
    assert (deepest.type, deepest.properties) == ("source", {"kind": "deep"})
    assert plain(deepest.text).lstrip("> ") == "a"
    assert import_markdown(export_markdown(only(quotes))[0]) == import_markdown(quotes)


def test_a_huge_paragraph_with_markup_is_kept_as_its_source():
    markdown = "*a* " * 50_000

    assert only(markdown).text == (Run(markdown.strip(), {"source": True}),)


def test_line_ends_and_a_mark_of_byte_order():
    assert import_markdown("\ufeffa\r\n\r\nb\rc") == import_markdown("a\n\nb\nc")
    assert import_markdown("---\na: \0\n---") == import_markdown("---\na: \ufffd\n---")


def test_markdown_over_the_limit_is_refused():
    with pytest.raises(TooLargeError):
        import_markdown("é" * (MARKDOWN_BYTES // 2 + 1))


PARAGRAPH = 12_000
HOSTILE = {
    "brackets": "[" * PARAGRAPH,
    "labels": "[a](" * (PARAGRAPH // 4),
    "images": "![" * (PARAGRAPH // 2),
    "nested images": "![" * 45 + "a" + "](b)" * 45,
    "nested too deep": "![" * 2_000 + "a" + "](b)" * 2_000,
    "stars": "*a **a " * (PARAGRAPH // 14),
    "underscores": "_" * (PARAGRAPH // 2),
    "quotes": (">" * 60 + "a\n") * 200,
    "lists": "- " * 5_000 + "a",
    "stairs": "".join("  " * level + "- a\n" for level in range(200)),
    "backticks": "".join("`" * length + " " for length in range(100)),
    "comments": "<!--" * (PARAGRAPH // 4),
    "wide tables": ("|a" * 200 + "|\n" + "|-" * 200 + "|\n" + "|\n" * 200 + "\n") * 10,
    "definitions": "[a]: b\n" * 1_000,
    "half definitions": "[a]:\n" * 1_000,
    "footnotes": "[^a]: b\n\n" * 500,
    "tags": "<a " * (PARAGRAPH // 6),
    "entities": "&#" * (PARAGRAPH // 4),
    "front matter": "---\na\n" + "--\n" * 1_000,
}


@pytest.mark.heavy
@pytest.mark.parametrize("markdown", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_markdown_is_read_and_written(markdown: str):
    document = import_markdown(markdown)

    assert import_markdown(export_markdown(document)[0]) == document
    assert sum(1 for _ in in_order(document)) < 25_000
