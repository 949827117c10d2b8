"""How one text became another, word by word, as a delta in Quill's form."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

from collabkernel.crdt.text_delta import Delta
from collabkernel.crdt.text_values import Attributes

WORDS_MAX = 2000
"""Words on one side that are compared with each other: the time grows with their square, to a second or so."""
_WORD = re.compile(r"\w+|\s+|[^\w\s]")


def text_diff(old: str, new: str) -> Delta:
    """The delta that makes ``new`` of ``old``, empty if they are equal; one replacement where they are long."""
    start = _shared(old, new)
    end = _shared(old[start:][::-1], new[start:][::-1])
    if start == len(old) == len(new):
        return []
    was, now = _words(old[start : len(old) - end]), _words(new[start : len(new) - end])
    if max(len(was), len(now)) > WORDS_MAX:
        was, now = ["".join(was)], ["".join(now)]
    delta: Delta = [{"retain": start}] if start else []
    for kind, i, j, k, m in SequenceMatcher(None, was, now, autojunk=False).get_opcodes():
        gone, come = sum(map(len, was[i:j])), "".join(now[k:m])
        if kind == "equal":
            delta.append({"retain": gone})
            continue
        if come:
            delta.append({"insert": come})
        if gone:
            delta.append({"delete": gone})
    return delta


def format_diff(old: Delta, new: Delta) -> list[tuple[int, int, Attributes]]:
    """Of two contents with one text: ranges of it, and the attributes to set there that make ``new`` of ``old``.

    An attribute with the value None is taken away.
    """
    found: list[tuple[int, int, Attributes]] = []
    before, after = _runs(old), _runs(new)
    start = 0
    for end in sorted({at for at, _ in before} | {at for at, _ in after}):
        was, now = _at(before, end), _at(after, end)
        changes: Attributes = {key: now.get(key) for key in {**was, **now} if was.get(key) != now.get(key)}
        if changes:
            found.append((start, end, changes))
        start = end
    return found


def _words(text: str) -> list[str]:
    return _WORD.findall(text)


def _shared(old: str, new: str) -> int:
    """How many characters both begin with."""
    count = min(len(old), len(new))
    return next((i for i in range(count) if old[i] != new[i]), count)


def _runs(delta: Delta) -> list[tuple[int, Attributes]]:
    """The runs of a content: where each ends, and how it is formatted."""
    found: list[tuple[int, Attributes]] = []
    end = 0
    for run in delta:
        end += len(run["insert"]) if isinstance(run["insert"], str) else 1
        found.append((end, run.get("attributes", {})))
    return found


def _at(runs: list[tuple[int, Attributes]], end: int) -> Attributes:
    return next((attributes for last, attributes in runs if last >= end), {})
