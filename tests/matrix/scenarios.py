"""What people do to blocks at once, as data that any library can be asked to do; and what may be said of the outcome.

The blocks' texts have no letter in common, so that of each letter can be told whether it is lost or there twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Outline: TypeAlias = list[tuple[str, "Outline"]]
"""Blocks in their order: text, and the blocks nested below."""
Edit: TypeAlias = dict[str, Any]
"""``do``: type, split, merge, move or delete; ``block``: the letter that its text begins with; and where."""

ORDERS = (False, True)
"""Whether the last of those who edit comes first: in the log, or by the numbers that break ties."""
FLAT: Outline = [("bold", []), ("fact", []), ("ring", []), ("husk", [])]
NESTED: Outline = [("bold", [("ring", [])]), ("fact", []), ("husk", [])]


@dataclass(frozen=True)
class Scenario:
    """Some people who each do one thing and have not heard of each other."""

    name: str
    edits: tuple[Edit, ...]
    """One for each."""
    outline: Outline = field(default_factory=lambda: FLAT)
    deleted: str = ""
    """Letters that somebody deleted: whether they are there is a matter of who wins."""
    wanted: str | None = None
    """All text in reading order, where all agree on that."""


SCENARIOS = (
    Scenario(
        "two move one block to two places, a third types in it",
        (
            {"do": "move", "block": "f", "after": "r"},
            {"do": "move", "block": "f", "after": "h"},
            {"do": "type", "block": "f", "at": 4, "text": "!"},
        ),
    ),
    Scenario(
        "A under B against B under A",
        ({"do": "move", "block": "b", "into": "f"}, {"do": "move", "block": "f", "into": "b"}),
    ),
    Scenario(
        "split against split",
        ({"do": "split", "block": "f", "at": 1}, {"do": "split", "block": "f", "at": 3}),
        wanted="boldfactringhusk",
    ),
    Scenario(
        "split against typing behind it",
        ({"do": "split", "block": "f", "at": 2}, {"do": "type", "block": "f", "at": 4, "text": "!"}),
        wanted="boldfact!ringhusk",
    ),
    Scenario(
        "merge against edit",
        ({"do": "merge", "block": "f"}, {"do": "type", "block": "f", "at": 4, "text": "!"}),
        wanted="boldfact!ringhusk",
    ),
    Scenario(
        "delete against move",
        ({"do": "delete", "block": "f"}, {"do": "move", "block": "f", "after": "h"}),
        deleted="fact",
    ),
    Scenario(
        "delete a section against a move into it",
        ({"do": "delete", "block": "b"}, {"do": "move", "block": "h", "into": "b"}),
        outline=NESTED,
        deleted="boldring",
    ),
    Scenario(
        "delete against typing",
        ({"do": "delete", "block": "f"}, {"do": "type", "block": "f", "at": 4, "text": "!"}),
        deleted="fact",
    ),
)


def flattened(outline: Outline) -> Iterator[str]:
    """The texts in reading order."""
    for text, below in outline:
        yield text
        yield from flattened(below)


def drawn(outline: Outline) -> str:
    """An outline in one line; what is nested stands in brackets."""
    return " / ".join(f"{text} [{drawn(below)}]" if below else text for text, below in outline)


def harm(scenario: Scenario, outline: Outline) -> str:
    """What a user would miss, or find too much."""
    shown = Counter("".join(flattened(outline)))
    typed = "".join(edit.get("text", "") for edit in scenario.edits)
    there = Counter("".join(flattened(scenario.outline)) + typed)
    lost = there - Counter(scenario.deleted) - shown
    twice = shown - there
    found = [f"**“{_letters(lost)}” is lost**"] if lost else []
    found += [f"**“{_letters(twice)}” is there twice**"] if twice else []
    text = "".join(flattened(outline))
    is_elsewhere = any(f"{before}{typed}" not in text for before, typed in _typed_behind(scenario))
    if not found and (is_elsewhere or scenario.wanted not in (None, text)):
        found = ["*out of its place*"]
    return ", ".join(found) or "nothing lost"


def _typed_behind(scenario: Scenario) -> Iterator[tuple[str, str]]:
    """What was typed, and the letter that stood before it."""
    for edit in scenario.edits:
        if edit["do"] == "type":
            (block,) = [each for each in flattened(scenario.outline) if each.startswith(edit["block"])]
            yield block[edit["at"] - 1], edit["text"]


def _letters(letters: Counter[str]) -> str:
    """In the order in which they were first written."""
    return "".join(letter for text in (*flattened(FLAT), "!") for letter in text if letter in letters)


def cell(scenario: Scenario, outcomes: Sequence[Outline | None]) -> str:
    """What came of it, whoever was first: one outcome, or two."""
    told = dict.fromkeys(
        "has no nesting" if outline is None else f"`{drawn(outline)}`: {harm(scenario, outline)}"
        for outline in outcomes
    )
    return "; or ".join(told)
