"""Runs as markup."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from collabkernel.document.block_spec import Run, Text
from collabkernel.document.markdown.inline_read import read_inline
from collabkernel.document.markdown.inline_write import Place, write_image, write_inline
from collabkernel.document.markdown.parser import parse_inline
from tests.document.markdown.trees import texts
from tests.examples import examples

B, I, S = {"bold": True}, {"italic": True}, {"strike": True}  # noqa: E741  # as the marks are called


@pytest.mark.parametrize(
    ("runs", "markup"),
    [
        ([("a ", {}), ("b", B), (" c", {})], "a **b** c"),
        ([("a", B), ("b", B | I), ("c", B)], "**a*b*c**"),
        ([("a", B | I)], "***a***"),
        ([("a", B), ("b", I)], "**a**_b_"),
        ([("a ", B), ("b", {})], "**a** b"),
        ([("a", {}), (" b", B | I), (" c", I)], "a ***b** c*"),
        ([("a ", B), (" ", {}), (" b", B)], "**a**   **b**"),
        ([("a", {}), (" ", B), ("b", {})], "a b"),
        ([("a ", {}), ("\n", I | {"hard_break": True}), (" b", I)], "a&#32;\\\n&#32;*b*"),
        ([("a\u00a0", B), ("b", {})], "**a&#160;**&#98;"),
        ([("a", {}), ("(b)", B)], "&#97;**(b)**"),
        ([("(a)", B), ("b", {})], "**(a)**&#98;"),
        ([("a", S | {"link": "/u"})], "~~[a](/u)~~"),
        ([("a", {"link": "/u"}), ("b", {"link": "/v"})], "[a](/u)[b](/v)"),
        ([("http://a.b", {"link": "http://a.b"})], "<http://a.b>"),
        ([("a@b.c", {"link": "mailto:a@b.c"})], "<a@b.c>"),
        ([("a`b", {"code": True})], "``a`b``"),
        ([("a", {}), ("\n", {"hard_break": True}), ("b", {})], "a\\\nb"),
        ([("a!", {}), ("b", {"link": "/u"})], "a\\![b](/u)"),
        ([("a!", {}), ("b", B)], "a!**b**"),
        ([("a", {"color": "red"})], "a"),
        ([({"video": 1}, {})], "\ufffc"),
    ],
)
def test_marks_become_markup(runs: list[tuple[Any, dict[str, Any]]], markup: str):
    assert write_inline(tuple(Run(*run) for run in runs), links=False) == markup


@pytest.mark.parametrize(
    ("text", "place", "markup"),
    [
        ("[x] a", "item", "\\[x] a"),
        ("[x] a", "task", "[x] a"),
        ("a\nb", "line", "a&#10;b"),
        ("# a", "line", "# a"),
        ("# a", "paragraph", "\\# a"),
        (" a\n b ", "paragraph", "&#32;a\n&#32;b&#32;"),
    ],
)
def test_a_text_is_written_for_its_place(text: str, place: Place, markup: str):
    assert write_inline((Run(text),), place, links=False) == markup


def test_html_that_would_be_a_block_is_within_its_paragraph():
    source = (Run("<div>", {"source": True}),)

    assert write_inline(source) == "&#32;<div>"
    assert write_inline((Run("a\n"), *source)) == "a\n    <div>"


def test_a_break_at_the_end_is_a_line_break():
    assert write_inline((Run("a"), Run("\n", {"hard_break": True}))) == "a&#10;"


def test_an_image_is_written():
    assert write_image({"src": "a b", "alt": "[c]", "title": 'd"'}) == '![\\[c\\]](<a b> "d\\"")'


@examples(80)
@given(texts(can_be_empty=False))
def test_what_was_written_reads_as_the_same_runs(text: Text):
    assert read_inline(parse_inline(write_inline(text, "task"))) == text
