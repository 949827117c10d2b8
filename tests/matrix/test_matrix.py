"""What docs/MATRIX.md tells of concurrent edits is what each system does; ``python -m tests.matrix`` writes it anew."""

from __future__ import annotations

import pytest

from tests.matrix import automerge
from tests.matrix.ours import NAME
from tests.matrix.scenarios import SCENARIOS, Scenario, cell, harm
from tests.matrix.table import NAMES, observed_here, observed_in_node, told


def test_the_page_tells_what_we_do_and_what_yjs_and_loro_do():
    page = told()

    for name, cells in observed_here().items():
        assert page[name] == cells, name
    assert tuple(page) == NAMES


# The first run installs it.
@pytest.mark.timeout(900)
def test_the_page_tells_what_automerge_does():
    assert told()[automerge.NAME] == observed_in_node()[automerge.NAME]


def test_nothing_but_what_is_typed_in_a_deleted_block_is_lost_here():
    losing = [scenario.name for scenario, told_ in zip(SCENARIOS, told()[NAME], strict=True) if "**" in told_]

    assert losing == ["delete against typing"]


def test_harm_is_seen():
    split = Scenario("split", (), wanted="boldfactringhusk")
    whole = [("bold", []), ("fact", []), ("ring", []), ("husk", [])]

    assert harm(split, whole) == "nothing lost"
    assert harm(split, whole[1:]) == "**“bold” is lost**"
    assert harm(split, [*whole, ("act", [])]) == "**“act” is there twice**"
    assert harm(split, [whole[1], whole[0], *whole[2:]]) == "*out of its place*"
    typing = Scenario("typing", ({"do": "type", "block": "f", "at": 4, "text": "!"},))
    assert harm(typing, [whole[0], ("fact!", []), *whole[2:]]) == "nothing lost"
    assert harm(typing, [*whole[:2], ("!ring", []), whole[3]]) == "nothing lost", "it is behind the t, in reading order"
    assert harm(typing, [*whole[:3], ("!husk", [])]) == "*out of its place*"
    assert cell(split, [whole, whole]) == "`bold / fact / ring / husk`: nothing lost"
    assert cell(split, [None]) == "has no nesting"
    nested = [("bold", [("fact", [])]), ("ring", []), ("husk", [])]
    assert cell(split, [whole, nested]).endswith("; or `bold [fact] / ring / husk`: nothing lost")
