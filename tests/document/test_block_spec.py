"""Blocks as plain values."""

from __future__ import annotations

from hypothesis import given

from collabkernel.document.block_spec import (
    BlockSpec,
    Run,
    Text,
    depth,
    from_delta,
    in_order,
    join,
    plain,
    styled,
    to_delta,
)
from tests.document.markdown.trees import texts
from tests.examples import examples


def test_neighbours_of_the_same_marks_are_one_run():
    runs = [
        Run("a"),
        Run(""),
        Run("b"),
        Run("c", {"bold": True}),
        Run("d", {"bold": True}),
        Run({"image": {}}),
        Run("e"),
    ]

    assert join(runs) == (Run("ab"), Run("cd", {"bold": True}), Run({"image": {}}), Run("e"))


def test_plain_text_has_the_words_of_images():
    image = Run({"image": {"src": "s", "alt": "a cat"}})

    assert plain((Run("see "), image, Run({"video": 1}))) == "see a cat\ufffc"
    assert plain(()) == ""


def test_styled_text_is_one_run_or_none():
    assert styled("a", bold=True) == (Run("a", {"bold": True}),)
    assert styled("") == ()


@examples(30)
@given(texts())
def test_a_delta_has_all_of_a_text(text: Text):
    assert from_delta(to_delta(text)) == text


def test_document_order_and_depth():
    leaf = BlockSpec("c")
    tree = BlockSpec("a", {}, (), (BlockSpec("b", {}, (), (leaf,)), BlockSpec("d")))

    assert [block.type for block in in_order(tree)] == ["a", "b", "c", "d"]
    assert (depth(tree), depth(leaf)) == (3, 1)
