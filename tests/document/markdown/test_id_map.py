"""Blocks found again in a text that somebody changed."""

from __future__ import annotations

import pytest
from hypothesis import given

from collabkernel.document.block_spec import BlockSpec, in_order, plain
from collabkernel.document.markdown.id_map import from_json, id_map, to_json
from collabkernel.document.markdown.read import import_markdown
from collabkernel.document.markdown.write import export_markdown
from collabkernel.errors import InvalidValueError
from tests.document.markdown.trees import documents
from tests.document.named import named
from tests.examples import examples

PARAGRAPHS = [
    "The first one tells of the sea and its ships.",
    "Another is about mountains, snow and long winters.",
    "Nothing here but a list of unlikely vegetables.",
    "In the end everybody goes home by train.",
]


def changed(before: list[str], after: list[str]) -> list[int | None]:
    """For each block after, the index of the block before that it is; None for a new one."""
    old = named(import_markdown("\n\n".join(before)))
    index_by_id = {block.id: at for at, block in enumerate(old.children)}
    new = import_markdown("\n\n".join(after), id_map(old))
    return [index_by_id.get(block.id) if block.id else None for block in new.children]


def test_an_unchanged_text_has_all_ids():
    assert changed(PARAGRAPHS, PARAGRAPHS) == [0, 1, 2, 3]


def test_a_changed_word_changes_no_id():
    after = [PARAGRAPHS[0].replace("sea", "ocean"), *PARAGRAPHS[1:]]

    assert changed(PARAGRAPHS, after) == [0, 1, 2, 3]


def test_what_is_added_or_removed_moves_no_other_id():
    new = "Quite new words stand here."

    assert changed(PARAGRAPHS, [new, *PARAGRAPHS]) == [None, 0, 1, 2, 3]
    assert changed(PARAGRAPHS, [PARAGRAPHS[0], new, PARAGRAPHS[1]]) == [0, None, 1]
    assert changed(PARAGRAPHS, [PARAGRAPHS[0], new, *PARAGRAPHS[2:]]) == [0, None, 2, 3]


def test_blocks_that_were_moved_keep_their_ids():
    assert changed(PARAGRAPHS, [PARAGRAPHS[at] for at in (2, 0, 3, 1)]) == [2, 0, 3, 1]


def test_equal_blocks_stay_in_order():
    rows = ["same", "a b c d e", "same", "f g h i j", "same"]

    assert changed(rows, ["same", "a b c d e", "same", "new words here", "f g h i j", "same"]) == [0, 1, 2, None, 3, 4]


def test_a_block_may_get_another_type():
    assert changed([*PARAGRAPHS], [f"# {PARAGRAPHS[0]}", *PARAGRAPHS[1:]]) == [0, 1, 2, 3]
    assert changed(["- [ ] buy two litres of milk"], ["- [x] buy two litres of milk"]) == [0]


def test_both_changed_and_moved_it_is_found_by_its_words():
    after = [PARAGRAPHS[3], PARAGRAPHS[0], PARAGRAPHS[1].replace("snow", "ice"), PARAGRAPHS[2]]

    assert changed(PARAGRAPHS, after) == [3, 0, 1, 2]


def test_no_id_is_given_twice():
    ids = [at for at in changed(PARAGRAPHS, [*PARAGRAPHS, *PARAGRAPHS]) if at is not None]

    assert sorted(ids) == [0, 1, 2, 3]


@pytest.mark.heavy
def test_a_text_of_very_many_changed_blocks_is_matched_by_place():
    before = [f"word{at} stays" for at in range(1000)]
    after = [f"word{at} stays here" for at in range(1000)]

    assert changed(before, after) == list(range(1000))


@examples(30)
@given(documents)
def test_what_was_written_reads_as_the_same_blocks_with_their_ids(document: BlockSpec):
    document = named(document)
    markdown, known = export_markdown(document)

    assert import_markdown(markdown, known) == document
    assert import_markdown(markdown, from_json(to_json(known))) == document


@examples(30)
@given(documents, documents)
def test_ids_are_given_once_whatever_was_changed(before: BlockSpec, after: BlockSpec):
    known = id_map(named(before))
    ids = [block.id for block in in_order(import_markdown(export_markdown(after)[0], known)) if block.id]

    assert len(ids) == len(set(ids))


def test_a_map_of_blocks_without_ids_gives_none():
    document = import_markdown("# a\n\nb")

    assert from_json(to_json(id_map(document))) == id_map(document)
    assert import_markdown("# a\n\nb", id_map(document)) == document
    assert plain(document.children[1].text) == "b"


@pytest.mark.parametrize("source", ["", "{}x", "[1]", "[[1,2]]", '[[[1],"a","b","c","d"]]', "7"])
def test_what_is_no_map_is_refused(source: str):
    with pytest.raises(InvalidValueError):
        from_json(source)
