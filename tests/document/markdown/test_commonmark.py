"""CommonMark's own examples, and our own documents: nothing is lost, nothing changes twice."""

from __future__ import annotations

import json
import time
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from collabkernel.document.block_spec import BlockSpec
from collabkernel.document.block_types import BUILTIN
from collabkernel.document.markdown.read import import_markdown
from collabkernel.document.markdown.write import export_markdown
from tests.examples import examples

ROOT = Path(__file__).parents[3]
EXAMPLES = json.loads((ROOT / "tests/fixtures/markdown/commonmark-0.31.2.json").read_text(encoding="utf-8"))
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "tests/fixtures").rglob("*.md")])
TEXTS = [(f"example {example['number']}", example["markdown"]) for example in EXAMPLES] + [
    (path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")) for path in DOCUMENTS
]

# Examples that are shown otherwise once they were blocks, and why.
SHOWN_OTHERWISE = {
    "example 433": "emphasis and a link around the same words: marks have no order, so the emphasis comes first",
}

pytestmark = pytest.mark.heavy

RENDERER = MarkdownIt("commonmark", {"maxNesting": 100}).enable(["table", "strikethrough"])


@cache
def read(markdown: str) -> BlockSpec:
    return import_markdown(markdown)


@cache
def again(markdown: str) -> str:
    return export_markdown(read(markdown))[0]


def test_the_examples_are_all_of_them():
    assert [example["number"] for example in EXAMPLES] == list(range(1, 653))
    assert len(DOCUMENTS) > 15


def test_reading_and_writing_changes_nothing_twice():
    changed = [name for name, markdown in TEXTS if again(again(markdown)) != again(markdown)]

    assert changed == []


def test_what_was_written_reads_as_the_same_blocks():
    changed = [name for name, markdown in TEXTS if read(again(markdown)) != read(markdown)]

    assert changed == []


def test_it_looks_as_before():
    changed = {name for name, markdown in TEXTS if RENDERER.render(again(markdown)) != RENDERER.render(markdown)}

    assert changed == SHOWN_OTHERWISE.keys()


FRAGMENTS = [
    *(
        "a",
        "b ",
        "x.",
        "1",
        "é",
        "😀",
        "\u00a0",
        "\n",
        "\n\n",
        "\n  ",
        "\n    ",
        "\t",
        "  \n",
        "\\\n",
        "\\",
        "\\*",
        "&#32;",
    ),
    *(
        "*",
        "**",
        "***",
        "_",
        "__",
        "~~",
        "`",
        "``",
        "[",
        "]",
        "](/u)",
        '[a](/u "t")',
        "![",
        "![x](s)",
        "!",
        "(p)",
        "<h:a>",
    ),
    *(
        "<b>",
        "</b>",
        "<div>\n",
        "<!-- -->",
        "<!-- c -->",
        "# ",
        "> ",
        "- ",
        "+ ",
        "1. ",
        "2) ",
        "- [ ] ",
        "[x] ",
        "    ",
    ),
    *(
        "---",
        "***",
        "===",
        "```",
        "~~~",
        "| a | b |\n|---|--:|\n| c | d |\n",
        "|",
        "[a]: /x\n",
        "[^1]",
        "[^1]: n\n",
        ":",
    ),
]


@examples(300)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join))
def test_any_markdown_is_read_and_written_the_same_for_ever(markdown: str):
    written = export_markdown(import_markdown(markdown))[0]

    assert export_markdown(import_markdown(written))[0] == written


def test_a_megabyte_takes_seconds():
    words = "\n\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    markdown = (words * (1_000_000 // len(words) + 1))[:1_000_000]
    start = time.process_time()

    written, known = export_markdown(import_markdown(markdown))

    # Two to three seconds on a slow machine; what grows by the square of the length would take minutes.
    assert time.process_time() - start < 30
    assert len(written) > 900_000
    assert len(known) > 5_000


def test_all_blocks_are_what_their_types_take():
    for _, markdown in TEXTS:
        BUILTIN.check(read(markdown))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_our_own_documents_have_almost_no_source_blocks(path: Path):
    blocks = read(path.read_text(encoding="utf-8")).children
    kept = [block for block in blocks if block.type == "source"]

    assert len(kept) <= len(blocks) // 10 + 1
