"""Who made and wrote the blocks of a document: ``doc.blame()``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from collabkernel.client.actors import Actors, Authors
from collabkernel.client.block import Block
from collabkernel.crdt.ids import OpId


@dataclass(frozen=True, slots=True)
class Blame:
    """Who made a block, when, and who typed what in it."""

    block: Block
    actor: str | None
    """Who inserted it, or split it off; None if the server does not know."""
    seq: int | None
    """Of that operation: ``room.at(seq)`` is the room as it was then. None until it is saved, and when compaction has
    dropped it from the log."""
    time_ms: int | None
    """When that was, by its author's clock, milliseconds since the Unix epoch."""
    runs: tuple[tuple[str | None, str], ...]
    """Its text as (user, characters), in order."""

    def __str__(self) -> str:
        runs = " ".join(f"[{actor or '?'}] {text}" for actor, text in self.runs)
        return f"{self.block.id} ({self.actor or '?'}, {'not in the log' if self.seq is None else self.seq}): {runs}"


def blame_of(
    blocks: Sequence[tuple[Block, OpId, list[tuple[int, str]]]], authors: Authors, actors: Actors
) -> list[Blame]:
    """Put together what a document has and what the server knows.

    Args:
        blocks: Each block with its id, and its text as (site, characters).
        authors: What the server answered.
        actors: What was known before.
    """
    actors.learn(authors.actor_by_site)
    found: list[Blame] = []
    for block, id, typed in blocks:
        origin = authors.origin_by_op.get(id)
        runs: list[tuple[str | None, str]] = []
        for site, text in typed:
            actor = actors.of(site)
            before = runs.pop()[1] if runs and runs[-1][0] == actor else ""
            runs.append((actor, before + text))
        actor = actors.of(id.site) if origin is None else origin.actor
        seq, time_ms = (None, None) if origin is None else (origin.seq, origin.time_ms)
        found.append(Blame(block, actor, seq, time_ms, tuple(runs)))
    return found
