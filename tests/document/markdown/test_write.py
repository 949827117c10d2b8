"""Blocks as Markdown: what is read from what was written is what was there."""

from __future__ import annotations

import pytest
from hypothesis import given

from collabkernel.document.block_spec import BlockSpec, Run
from collabkernel.document.markdown.read import import_markdown
from collabkernel.document.markdown.write import export_markdown
from tests.document.markdown.trees import documents
from tests.examples import examples

pytestmark = pytest.mark.core


@examples(80)
@given(documents)
def test_reading_what_was_written_gives_the_same_tree(document: BlockSpec):
    markdown, _ = export_markdown(document)

    assert import_markdown(markdown) == document


def test_what_is_nested_too_deep_is_written_all_the_same():
    tree = BlockSpec("quote", {}, (Run("innermost"),))
    for level in range(300):
        tree = BlockSpec("quote", {}, (Run(f"level {level}"),), (tree,))

    markdown, _ = export_markdown(BlockSpec("document", {}, (), (tree,)))

    assert "innermost" in markdown
    assert all(f"level {level}\n" in markdown for level in range(300))
