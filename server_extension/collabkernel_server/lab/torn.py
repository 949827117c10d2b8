"""What tells a file that is the beginning of what was written in place from one that somebody wrote. Pure.

A file that a rename would harm (hard links, another owner) is emptied and written anew. A full disk or a crash leaves
the beginning of it there, which must not be taken for somebody's deletion of the rest. A *mark* of the content is noted
before: its length, and a short digest of each of its parts, so that nobody has to keep it whole.
"""

from __future__ import annotations

import hashlib

PARTS = 64
"""A cut can be anywhere: what is behind the last whole part is not compared."""
_DIGEST_DIGITS = 8


def mark_of(data: bytes) -> str:
    """What to note of a content before it is written."""
    return f"{len(data)}.{''.join(_digests(data, _part_bytes(len(data))))}"


def is_beginning(mark: str, data: bytes) -> bool:
    """Whether this is what a write of the marked content leaves that is cut short."""
    length, _, digests = mark.partition(".")
    size = int(length)
    if len(data) >= size:
        return False
    part_bytes = _part_bytes(size)
    whole = len(data) // part_bytes * part_bytes
    return digests.startswith("".join(_digests(data[:whole], part_bytes)))


def _part_bytes(size: int) -> int:
    return max(1, -(-size // PARTS))


def _digests(data: bytes, part_bytes: int) -> list[str]:
    parts = [data[at : at + part_bytes] for at in range(0, len(data), part_bytes)]
    return [hashlib.sha256(part).hexdigest()[:_DIGEST_DIGITS] for part in parts]
