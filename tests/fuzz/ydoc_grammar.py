"""Twists of real updates of nested documents: read into structs, each part made wrong by chance, and written again.

What the validator's own reader makes of an update is only the start: heads and contents are written here, so that they
can be anything. Everything comes from the ``random.Random`` passed in.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from yjs_grammar import LIMITS, WORDS, buffer, mutate, uint

from collabkernel.crdt.yjs.policy import NOTEBOOK_POLICY, Owner, Reference
from collabkernel.crdt.yjs.structs import Struct, read_update

ROOTS = ("cells", "meta", "state")
OTHER_ROOTS = ("source", "", "cells\0")
KEYS = ("source", "metadata", "outputs", "a", "dirty", "", "k" * 1025)
CONTENTS = (
    (1, b"\x03"), (3, b"\x01x"), (4, buffer("😀".encode())), (5, b"\x02{}"), (6, b"\x04bold\x04true"), (7, b"\x00"),
    (7, b"\x01"), (7, b"\x02"), (7, b"\x03\x01p"), (7, b"\x06"), (7, b"\x07"), (8, b"\x01\x7e"), (8, b"\x02\x78\x79"),
    (8, b"\x01\x7b\x7f\xf8\x00\x00\x00\x00\x00\x00"), (2, b"\x01\x011"), (9, b"\x01g\x76\x00"), (0, b"\x03"),
    (10, b"\x02"), (11, b"\x00"), (8, b"\x00"), (4, b"\x00"), (8, b"\x01" + b"\x75\x01" * 300 + b"\x7e"),
)  # fmt: skip
"""Kinds and their bytes, right in some places and wrong in others."""


class Twister:
    """Makes hostile updates out of honest ones.

    Args:
        rng: The source of every choice.
        clocks: The document's state vector.
        wrong: The chance of each part to be changed.
    """

    def __init__(self, rng: random.Random, clocks: Mapping[int, int], wrong: float) -> None:
        self.rng = rng
        self.clocks = clocks
        self.wrong = wrong

    def twist(self, update: bytes) -> bytes:
        """The update with some of its parts changed, its clients in any order."""
        rng = self.rng
        if rng.random() < 0.1:
            return mutate(rng, update)
        parsed = read_update(update, NOTEBOOK_POLICY, None)
        queues = list(parsed.structs.values())
        rng.shuffle(queues)
        out = uint(self._count(len(queues)))
        for queue in queues:
            structs = self._structs(queue)
            out += uint(self._count(len(structs))) + uint(self._number(queue[0].client))
            out += uint(self._number(queue[0].clock))
            out += b"".join(self._write(struct, update) for struct in structs)
        return out + self._deletes(parsed.deletes)

    def _is_wrong(self) -> bool:
        return self.rng.random() < self.wrong

    def _count(self, right: int) -> int:
        return right if self.rng.random() > self.wrong / 10 else self.rng.choice((0, right + 1, max(0, right - 1)))

    def _number(self, right: int) -> int:
        if self.rng.random() > self.wrong / 4:
            return right
        return self.rng.choice((*LIMITS, *self.clocks, right + 1, max(0, right - 1)))

    def _structs(self, queue: Sequence[Struct]) -> list[Struct]:
        structs = list(queue)
        if self._is_wrong():
            at = self.rng.randrange(len(structs))
            match self.rng.randrange(4):
                case 0:
                    structs[at:at] = [structs[at]]
                case 1:
                    del structs[at:]
                case 2:
                    self.rng.shuffle(structs)
                case _:
                    del structs[at]
        return structs

    def _write(self, struct: Struct, update: bytes) -> bytes:
        rng = self.rng
        kind, content = struct.kind, update[struct.content : struct.end]
        origin, right, parent, key = struct.origin, struct.right, struct.parent, struct.key
        if self._is_wrong():
            kind, content = rng.choice(CONTENTS)
        elif kind == 4 and self._is_wrong():
            content = buffer(rng.choice(WORDS).encode())
        if kind in (0, 10):
            return bytes([kind]) + (content if struct.kind == kind else uint(rng.randint(0, 4)))
        if self._is_wrong():
            origin = self._reference(struct)
        if self._is_wrong():
            right = self._reference(struct)
        if self._is_wrong():
            parent, key = self._parent(struct), rng.choice((None, *KEYS))
        return self._head(kind, origin, right, parent, key) + content

    def _head(
        self, kind: int, origin: Reference | None, right: Reference | None, parent: Owner, key: str | None
    ) -> bytes:
        info = kind | (0x80 if origin else 0) | (0x40 if right else 0) | (0x20 if key is not None else 0)
        out = bytes([info])
        for reference in (origin, right):
            if reference:
                out += uint(reference[0]) + uint(reference[1])
        if not origin and not right:
            out += self._owner(parent)
            if key is not None:
                out += buffer(key.encode())
        return out

    def _owner(self, parent: Owner) -> bytes:
        if isinstance(parent, tuple):
            return b"\x00" + uint(parent[0]) + uint(parent[1])
        return b"\x01" + buffer((parent if parent is not None else self.rng.choice(ROOTS)).encode())

    def _parent(self, struct: Struct) -> Owner:
        if self.rng.random() < 0.5:
            return self._reference(struct)
        return self.rng.choice((*ROOTS, *OTHER_ROOTS))

    def _reference(self, struct: Struct) -> Reference | None:
        rng = self.rng
        if not self.clocks or rng.random() < 0.1:
            return None
        if rng.random() < 0.1:
            return rng.choice((struct.client, 0, 99, *LIMITS)), rng.choice(LIMITS)
        client = rng.choice(list(self.clocks))
        end = self.clocks[client]
        return client, end - 1 if rng.random() < 0.3 else rng.randrange(end)

    def _deletes(self, deletes: Mapping[int, Sequence[tuple[int, int]]]) -> bytes:
        rng = self.rng
        ranges = {client: [list(span) for span in spans] for client, spans in deletes.items()}
        if self.clocks and self._is_wrong():
            client = rng.choice(list(self.clocks))
            marks = sorted(rng.sample(range(self.clocks[client] + 2), min(self.clocks[client] + 2, 4)))
            ranges[client] = [list(span) for span in zip(marks[::2], marks[1::2], strict=False)]
        out = uint(self._count(len(ranges)))
        for client, spans in ranges.items():
            out += uint(self._number(client)) + uint(self._count(len(spans)))
            out += b"".join(uint(self._number(start)) + uint(self._number(end - start)) for start, end in spans)
        return out
