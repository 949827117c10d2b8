"""What we change in markdown-it: nothing is dropped, nothing takes for ever."""

from __future__ import annotations

import pytest

from collabkernel.document.markdown.parser import CHECKED, UNREAD, parse, parse_inline, split_front_matter


def kept(markdown: str) -> list[tuple[str, str]]:
    return [(token.info, token.content) for token in parse(markdown) if token.type == "kept"]


@pytest.mark.parametrize(
    ("source", "front"),
    [
        ("---\na: 1\n---\n\nb", "---\na: 1\n---\n"),
        ("---\na: 1\n...", "---\na: 1\n..."),
        ("---  \na\n\n---\t\nb", "---  \na\n\n---\t\n"),
        ("---\n\na: 1\n---\n", ""),
        ("---\n---\n", ""),
        ("---\na: 1\n", ""),
        ("\n---\na: 1\n---\n", ""),
        ("----\na\n----\n", ""),
    ],
)
def test_front_matter_is_cut_off(source: str, front: str):
    assert split_front_matter(source) == (front, source[len(front) :])


@pytest.mark.parametrize(
    ("markdown", "tokens"),
    [
        ("[a]:\n  /u\n  't'\nb", [("reference", "[a]:\n  /u\n  't'")]),
        ("> - [a]: /u\n>   [b]: /v", [("reference", "[a]: /u"), ("reference", "[b]: /v")]),
        ("[a]: b c", []),
        ("[^1]: a\n\n    b\n\nc", [("footnote", "[^1]: a\n\n    b")]),
        ("[^1]: a\n# b", [("footnote", "[^1]: a")]),
        ("- [^1]: a\n\nb", [("footnote", "[^1]: a")]),
        ("a\n[^1]: b", []),
        ("| a |\n|---|\n| b | c |\n\nd", [("html", "| a |\n|---|\n| b | c |")]),
        ("| a |\n|---|\n| b \\| c |", []),
        ("| a | b |\n|---|---|\n| c", []),
    ],
)
def test_what_markdown_it_drops_is_kept(markdown: str, tokens: list[tuple[str, str]]):
    assert kept(markdown) == tokens


@pytest.mark.heavy
def test_rows_that_are_filled_up_are_counted_over_the_text():
    table = "|a" * 100 + "|\n" + "|-" * 100 + "|\n" + "|\n" * 60 + "\n"
    tokens = parse(table * 20)

    assert [token.type for token in tokens].count("table_open") == 1
    assert [token.type for token in tokens].count("kept") == 19


def test_tasks_are_noted():
    tokens = parse("- [ ] a\n- [X] b\n- [x]c\n- [ ]\n- [ ] d\n  ===")

    assert [token.meta.get(CHECKED) for token in tokens if token.type == "list_item_open"] == [
        False,
        True,
        None,
        False,
        None,
    ]
    assert [token.content for token in tokens if token.type == "inline"] == ["a", "b", "[x]c", "", "[ ] d"]


def test_text_without_markup_is_not_read():
    (plain,) = (token for token in parse("a - b\nc + 1") if token.type == "inline")

    assert plain.children == []
    assert plain.content == "a - b\nc + 1"


@pytest.mark.parametrize("markdown", ["[" * 60 + "a" + "]" * 60, "*a* " * 10_000])
def test_markup_that_could_take_long_is_not_read(markdown: str):
    (token,) = (token for token in parse(markdown) if token.type == "inline")

    assert token.meta[UNREAD]
    assert token.content == markdown.strip()


def test_addresses_stay_as_they_are_written():
    token = parse_inline("[a](/ü%20?b=c&d) <http://é.x>")
    links = [child.attrs["href"] for child in token.children or [] if child.type == "link_open"]

    assert links == ["/ü%20?b=c&d", "http://é.x"]


@pytest.mark.parametrize("href", ["javascript:a", "JavaScript:a", "<java&#9;script:a>", "data:a"])
def test_a_script_is_no_link(href: str):
    assert "link_open" not in [child.type for child in parse_inline(f"[a]({href})").children or []]
