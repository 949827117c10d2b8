"""Runs of text by the site that typed them; client/test_blame.py names users."""

from __future__ import annotations

import pytest

from collabkernel.document.block_blame import typed_by
from tests.client.test_restore import open_docs

pytestmark = pytest.mark.core


def test_a_merged_block_is_told_in_its_order() -> None:
    world, ann, bob = open_docs()
    ann.append("one\n\nthree")
    world.settle()
    bob[1].insert(0, "two ")
    bob[1].merge()
    bob.append("empty")[0].text = ""
    world.settle()
    blocks = ann._context.replica.state.blocks
    assert blocks is not None
    assert typed_by(blocks, ann[0]._id) == [(101, "one"), (102, "two "), (101, "three")]
    assert typed_by(blocks, ann[1]._id) == []
