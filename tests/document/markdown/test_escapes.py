"""As few backslashes as do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.document.block_spec import Run
from collabkernel.document.markdown.escapes import address, begins_html, code_span, escape, guard_line, info, title
from collabkernel.document.markdown.inline_read import read_inline
from collabkernel.document.markdown.parser import parse, parse_inline


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("snake_case, 2 * 3 * 4, a < b & c, ~5", "snake_case, 2 * 3 * 4, a < b & c, ~5"),
        ("[!NOTE] or C:\\x, R&D; <3", "[!NOTE] or C:\\x, R&D; <3".replace("&D;", "\\&D;")),
        ("*a* _b_ `c` ~~d~~", "\\*a\\* \\_b\\_ \\`c\\` \\~\\~d\\~\\~"),
        ("<b> &amp; \\* [^1]", "\\<b> \\&amp; \\\\\\* \\[^1]"),
    ],
)
def test_only_what_acts_is_escaped(text: str, escaped: str):
    assert escape(text, brackets=False) == escaped


def test_brackets_are_escaped_where_they_could_link():
    assert escape("[a]", brackets=True) == "\\[a\\]"


@pytest.mark.parametrize(
    ("line", "guarded"),
    [
        ("# a", "\\# a"),
        ("#a", "#a"),
        ("> a", "\\> a"),
        ("- a", "\\- a"),
        ("-a", "-a"),
        ("---", "\\---"),
        ("|-|:-:|", "\\|-|:-:|"),
        ("===", "\\==="),
        ("12. a", "12\\. a"),
        ("12.a", "12.a"),
        ("1)", "1\\)"),
        ("[^a]: b", "[^a]\\: b"),
    ],
)
def test_a_line_does_not_begin_another_block(line: str, guarded: str):
    assert guard_line(line) == guarded
    assert [token.type for token in parse(f"a\n{guarded}")] == ["paragraph_open", "inline", "paragraph_close"]


def test_html_begins_blocks():
    assert begins_html("<div>", in_paragraph=True)
    assert begins_html("<b>", in_paragraph=False)
    assert not begins_html("<b>", in_paragraph=True)
    assert not begins_html("a <div>", in_paragraph=True)


words = st.text(st.sampled_from("ab \\()<>&;\"'*[]`~\n#é"), max_size=12)


@given(words, words)
def test_addresses_and_titles_read_as_they_are(href: str, words: str):
    (run,) = read_inline(parse_inline(f"[a]({address(href)} {title(words)})"))

    assert run == Run("a", {"link": href} | ({"link_title": words} if words else {}))


@given(words.filter(lambda text: text and "\n" not in text))
def test_code_reads_as_it_is(text: str):
    assert read_inline(parse_inline(code_span(text))) == (Run(text, {"code": True}),)


@pytest.mark.parametrize("words", ["python", "a  b", "\\*", "&amp;"])
def test_an_info_string_reads_as_it_is(words: str):
    (token,) = parse(f"~~~{info(words)}\n~~~")

    assert token.type == "fence"
