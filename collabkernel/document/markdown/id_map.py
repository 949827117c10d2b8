"""Which block is which: the blocks of a document found again in a Markdown text that somebody has changed.

First what is unchanged: blocks whose contents occur once in both are pairs, where they are in the same order (the
longest such run: patience diff, Bram Cohen 2005); then those that were moved, and those that occur more than once, in
order. What lies between two pairs and is not paired yet was changed, added or removed: there, blocks of the same type
are pairs when their words are alike, or when nothing else could have become of them.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import pairwise
from typing import TypeAlias

from collabkernel.crdt.ids import OpId
from collabkernel.document.block_spec import BlockSpec, in_order, plain
from collabkernel.errors import InvalidValueError
from collabkernel.limits import ID_MAP_GAP_BLOCKS, ID_MAP_WORDS

ALIKE = 0.5
"""Share of words in common from which two blocks of a type are one that was changed."""
ALIKE_OF_TYPES = 0.8
"""... and from which two blocks are one that got another type: a paragraph is now a heading."""
RESEMBLING = 0.2
"""... and from which they are when each is all that is left between the same neighbours."""

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class KnownBlock:
    """What is remembered of a block, to find it again."""

    id: OpId | None
    type: str
    digest: str
    """Of its type, properties and text."""
    words: tuple[str, ...]
    """Its first words."""
    name: str = ""
    """What the file itself calls it: a notebook's cell has an id."""


IdMap: TypeAlias = tuple[KnownBlock, ...]
"""The blocks of a document in document order, the document itself first."""


def id_map(document: BlockSpec) -> IdMap:
    """What is needed to find a document's blocks again in its Markdown."""
    return tuple(map(_known, in_order(document)))


def to_json(known: IdMap) -> str:
    """The map as JSON, to be kept beside the file."""
    return json.dumps(
        [[block.id and list(block.id), block.type, block.digest, " ".join(block.words), block.name] for block in known],
        separators=(",", ":"),
        ensure_ascii=False,
    )


def from_json(source: str) -> IdMap:
    """The map that ``to_json`` made.

    Raises:
        InvalidValueError: If it made none such.
    """
    try:
        return tuple(
            KnownBlock(id and OpId(*map(int, id)), str(type), str(digest), tuple(str(words).split()), str(name))
            for id, type, digest, words, name in json.loads(source)
        )
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidValueError(f"this is no map of ids: {error}") from None


def with_ids(document: BlockSpec, known: IdMap) -> BlockSpec:
    """The document with the ids of the blocks that are found in ``known``."""
    if not known:
        return document
    blocks = list(in_order(document))
    found = match(known, tuple(map(_known, blocks)))
    ids = [known[found[at]].id if at in found else None for at in range(len(blocks))]
    return _with_ids(document, iter(ids))


def _with_ids(block: BlockSpec, ids: Iterable[OpId | None]) -> BlockSpec:
    names = iter(ids)
    return replace(block, id=next(names), children=tuple(_with_ids(child, names) for child in block.children))


def _known(block: BlockSpec) -> KnownBlock:
    contents = (block.type, dict(block.properties), [(run.insert, dict(run.marks)) for run in block.text])
    digest = blake2b(json.dumps(contents, sort_keys=True, default=dict).encode(), digest_size=12)
    words = _WORD.findall(plain(block.text)[: 20 * ID_MAP_WORDS])[:ID_MAP_WORDS]
    name = str(block.properties.get("cell_id", ""))
    return KnownBlock(block.id, block.type, digest.hexdigest(), tuple(words), name)


def match(old: IdMap, new: IdMap) -> dict[int, int]:
    """Index in ``new`` to index in ``old`` of what is the same block."""
    found = _same(old, new)
    left = _Left(old, new, found)
    anchors = _in_step(found)
    for (new_before, old_before), (new_after, old_after) in pairwise([(-1, -1), *anchors, (len(new), len(old))]):
        found.update(left.between(range(old_before + 1, old_after), range(new_before + 1, new_after)))
    return found


def _same(old: IdMap, new: IdMap) -> dict[int, int]:
    """Pairs of equal names; of contents that occur once in both; equal neighbours of pairs; the others in order."""
    old_places = _places([block.digest for block in old])
    new_places = _places([block.digest for block in new])
    found = _once(old_places, new_places)
    found.update(_once(_places([block.name for block in old]), _places([block.name for block in new])))
    taken = set(found.values())
    for step, order in ((1, range(len(new))), (-1, range(len(new) - 1, -1, -1))):
        for at in order:
            beside = found.get(at - step)
            if at in found or beside is None or not 0 <= beside + step < len(old):
                continue
            if beside + step not in taken and old[beside + step].digest == new[at].digest:
                found[at] = beside + step
                taken.add(beside + step)
    for digest, places in new_places.items():
        free = [place for place in old_places.get(digest, ()) if place not in taken]
        found.update(zip((place for place in places if place not in found), free, strict=False))
    return found


def _places(keys: list[str]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = defaultdict(list)
    for at, key in enumerate(keys):
        if key:
            places[key].append(at)
    return places


def _once(old: Mapping[str, list[int]], new: Mapping[str, list[int]]) -> dict[int, int]:
    """New place to old place of what occurs once in both."""
    return {places[0]: old[key][0] for key, places in new.items() if len(places) == len(old.get(key, ())) == 1}


def _in_step(found: Mapping[int, int]) -> list[tuple[int, int]]:
    """The longest run of pairs that are in the same order on both sides."""
    ends: list[int] = []
    last_at: list[int] = []
    before: dict[int, int] = {}
    order = sorted(found)
    for at in order:
        place = bisect_left(ends, found[at])
        if place:
            before[at] = last_at[place - 1]
        ends[place : place + 1] = [found[at]]
        last_at[place : place + 1] = [at]
    run: list[tuple[int, int]] = []
    at = last_at[-1] if last_at else -1
    while at >= 0:
        run.append((at, found[at]))
        at = before.get(at, -1)
    return run[::-1]


class _Left:
    """What is not paired by its contents, paired by its words."""

    def __init__(self, old: IdMap, new: IdMap, found: Mapping[int, int]) -> None:
        self._old = old
        self._new = new
        self._new_paired = set(found)
        self._old_paired = set(found.values())

    def between(self, old_places: range, new_places: range) -> dict[int, int]:
        """Pairs within a gap. One of very many blocks is paired by their places alone."""
        olds = [at for at in old_places if at not in self._old_paired]
        news = [at for at in new_places if at not in self._new_paired]
        if not olds or not news:
            return {}
        pairs: dict[int, int] = {}
        if len(olds) * len(news) <= ID_MAP_GAP_BLOCKS**2:
            pairs = self._alike(olds, news)
            taken = set(pairs.values())
            olds = [at for at in olds if at not in taken]
            news = [at for at in news if at not in pairs]
        if len(olds) == len(news):
            pairs.update((new, old) for new, old in zip(news, olds, strict=True) if self._may_be(old, new))
        return pairs

    def _alike(self, olds: list[int], news: list[int]) -> dict[int, int]:
        old_words = {at: Counter(self._old[at].words) for at in olds}
        new_words = {at: Counter(self._new[at].words) for at in news}
        ranked = sorted(
            (self._old[old].type != self._new[new].type, -likeness, abs(old - olds[0] - new + news[0]), new, old)
            for new in news
            for old in olds
            if not (self._old[old].name and self._new[new].name)
            and (likeness := _likeness(old_words[old], new_words[new])) >= ALIKE
            and (likeness >= ALIKE_OF_TYPES or self._old[old].type == self._new[new].type)
        )
        pairs: dict[int, int] = {}
        taken: set[int] = set()
        for *_, new, old in ranked:
            if new not in pairs and old not in taken:
                pairs[new] = old
                taken.add(old)
        return pairs

    def _may_be(self, old: int, new: int) -> bool:
        before, after = self._old[old], self._new[new]
        if before.type != after.type or (before.name and after.name):
            return False
        return (
            not before.words
            or not after.words
            or _likeness(Counter(before.words), Counter(after.words)) >= (RESEMBLING)
        )


def _likeness(one: Counter[str], other: Counter[str]) -> float:
    """Words in common, of all: 1 for the same words (Dice, 1945)."""
    total = one.total() + other.total()
    return 2 * (one & other).total() / total if total else 0.0
