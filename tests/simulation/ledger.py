"""What was typed and deleted, character by character, read from the updates that say so: what must be there at the end.

Each character typed is one that nobody typed before. An undo may bring a deleted one back, as a new one; so what is
counted is not the character but the place in its author's Yjs clock that it was typed at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from collabkernel.crdt.ids import OpId
from collabkernel.crdt.yjs.parse import Reader
from collabkernel.crdt.yjs.policy import ROPE_POLICY, STRING
from collabkernel.crdt.yjs.structs import read_update
from collabkernel.document.operations import Envelope, TextEdit
from collabkernel.storage.base import OpRow
from collabkernel.wire.ops import decode_op, encode_op

FIRST = 0x4E00
"""The first character that is typed: a CJK one, of three bytes; after these come astral ones, of two clocks each."""
LAST = 0x9FFF
ASTRAL = 0x20000

Id = tuple[OpId, int, int]
"""Rope, Yjs client and clock."""


def character(n: int) -> str:
    """The ``n``-th character that anybody types."""
    return chr(FIRST + n) if n <= LAST - FIRST else chr(ASTRAL + n - (LAST - FIRST))


class Typed(NamedTuple):
    """What one envelope typed and deleted."""

    inserted: str
    deleted: str


class Ledger:
    """Of all replicas."""

    def __init__(self) -> None:
        self.made: dict[tuple[int, int], Envelope] = {}
        """Every envelope that any replica has made, by site and first counter."""
        self._typed_count = 0
        self._char_by_id: dict[Id, str] = {}
        self._deleters_by_id: dict[Id, set[int]] = {}

    def fresh(self, count: int) -> str:
        """Characters that nobody has typed."""
        self._typed_count += count
        return "".join([character(self._typed_count - count + i) for i in range(count)])

    @property
    def typed_count(self) -> int:
        """How many were typed."""
        return self._typed_count

    def note(self, site: int, envelope: Envelope) -> Typed:
        """A replica has made an envelope."""
        self.made[site, envelope.counter] = envelope
        inserted, deleted = [], []
        for op in envelope.ops:
            if isinstance(op, TextEdit):
                typed, gone = _read(op)
                assert not typed.keys() & self._char_by_id.keys(), "two characters at one place of an author's clock"
                self._char_by_id.update(typed)
                inserted += typed.values()
                deleted += [self._char_by_id[id] for id in gone if id in self._char_by_id]
                for id in gone:
                    self._deleters_by_id.setdefault(id, set()).add(site)
        return Typed("".join(inserted), "".join(deleted))

    # -- at the end

    def deleted_by_many(self, authors: Iterable[Collection[int]]) -> set[str]:
        """The characters that several authors deleted at one place: each of them may have brought it back by an undo.

        It is not the log that tells: who goes on as another site deletes again what is still there, and no more.

        Args:
            authors: The sites that each of them was.
        """
        author_by_site = {site: number for number, sites in enumerate(authors) for site in sites}
        return {
            self._char_by_id[id]
            for id, sites in self._deleters_by_id.items()
            if len({author_by_site.get(site, site) for site in sites}) > 1 and id in self._char_by_id
        }

    def check_log(self, rows: Iterable[OpRow], gone: Collection[int] = ()) -> None:
        """Every envelope that was made is in the log, whole and once, and nothing else is.

        Args:
            rows: The log.
            gone: Sites whose last envelopes may be missing, since nobody is there any more to send them again.
        """
        logged = Counter((row.site, row.counter, row.first_counter, row.payload) for row in rows)
        made = Counter(
            (site, counter + i, counter, encode_op(op))
            for (site, counter), envelope in self.made.items()
            for i, op in enumerate(envelope.ops)
        )
        made = Counter({op: count for op, count in made.items() if op in logged or op[0] not in gone})
        assert logged == made, f"lost: {list(made - logged)[:3]}, never made or twice: {list(logged - made)[:3]}"


def surviving(rows: Iterable[OpRow]) -> dict[OpId, Counter[str]]:
    """The characters that must be in each rope: all that were typed, but what an operation of the log deleted."""
    char_by_id: dict[Id, str] = {}
    gone: set[Id] = set()
    for row in rows:
        op = decode_op(row.payload)
        if isinstance(op, TextEdit):
            typed, deleted = _read(op)
            assert not typed.keys() & char_by_id.keys(), "typed twice at one place"
            char_by_id.update(typed)
            gone.update(deleted)
    ropes: dict[OpId, Counter[str]] = {}
    for id, char in char_by_id.items():
        if id not in gone:
            ropes.setdefault(id[0], Counter())[char] += 1
    return ropes


def _read(op: TextEdit) -> tuple[dict[Id, str], list[Id]]:
    """The characters that an update types, and the places that it deletes."""
    update = read_update(op.update, ROPE_POLICY, None)
    typed: dict[Id, str] = {}
    for client, structs in update.structs.items():
        for struct in structs:
            if struct.kind == STRING:
                text = Reader(op.update, at=struct.content).string("a text")
                for clock, char in _clocks(text, struct.clock):
                    typed[op.target, client, clock] = char
    gone = [
        (op.target, client, clock)
        for client, ranges in update.deletes.items()
        for start, end in ranges
        for clock in range(start, end)
    ]
    return typed, gone


def _clocks(text: str, clock: int) -> Iterator[tuple[int, str]]:
    for char in text:
        yield clock, char
        clock += 1 + (char > "\uffff")
