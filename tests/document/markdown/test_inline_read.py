"""Markup into runs."""

from __future__ import annotations

from typing import Any

import pytest

from collabkernel.document.block_spec import Run
from collabkernel.document.markdown.inline_read import EMBED_BYTES_MAX, LINK_BYTES_MAX, read_inline
from collabkernel.document.markdown.parser import parse_inline

BOLD, ITALIC, SOURCE = {"bold": True}, {"italic": True}, {"source": True}


@pytest.mark.parametrize(
    ("markup", "runs"),
    [
        ("a **b *c* d**", [("a ", {}), ("b ", BOLD), ("c", BOLD | ITALIC), (" d", BOLD)]),
        ("~~a~~ `b`", [("a", {"strike": True}), (" ", {}), ("b", {"code": True})]),
        (
            "[a *b*](/u 't')",
            [("a ", {"link": "/u", "link_title": "t"}), ("b", ITALIC | {"link": "/u", "link_title": "t"})],
        ),
        ("<http://a.b>", [("http://a.b", {"link": "http://a.b"})]),
        (
            "a  \nb\\\nc\nd",
            [("a", {}), ("\n", {"hard_break": True}), ("b", {}), ("\n", {"hard_break": True}), ("c\nd", {})],
        ),
        ("**a  \nb**", [("a", BOLD), ("\n", BOLD | {"hard_break": True}), ("b", BOLD)]),
        ("a <b>c</b>[^1]", [("a ", {}), ("<b>", SOURCE), ("c", {}), ("</b>[^1]", SOURCE)]),
        ("\\* &amp; &#35;", [("* & #", {})]),
        ("![a ![b](c) `d`](e 'f')", [({"image": {"src": "e", "alt": "a b d", "title": "f"}}, {})]),
        ("[![a](b)](c)", [({"image": {"src": "b", "alt": "a"}}, {"link": "c"})]),
    ],
)
def test_markup_becomes_marks(markup: str, runs: list[tuple[Any, dict[str, Any]]]):
    assert read_inline(parse_inline(markup)) == tuple(Run(*run) for run in runs)


@pytest.mark.parametrize(
    "markup",
    [
        "**a __b__**",
        "*(*a*)*",
        "[](/u)",
        f"[a](/{'u' * LINK_BYTES_MAX})",
        f"![a](data:image/png;base64,{'u' * EMBED_BYTES_MAX})",
    ],
)
def test_markup_that_marks_do_not_say_stays_as_it_is(markup: str):
    assert read_inline(parse_inline(markup)) == (Run(markup, SOURCE),)


def test_lines_without_markup():
    assert read_inline(parse_inline("")) == ()
    assert read_inline(parse_inline("a \n\t b  \nc")) == (Run("a\nb"), Run("\n", {"hard_break": True}), Run("c"))
