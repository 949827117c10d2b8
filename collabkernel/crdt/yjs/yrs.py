"""The one door to yrs: updates go into a pycrdt document, and whatever yrs says comes out as our error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pycrdt import Doc

from collabkernel.errors import InvalidYjsUpdateError

COMMIT_MAX = 64
"""Updates in one transaction of yrs, since the cost of a commit grows with the square of what it commits.

15,000 typed letters: 0.32 s one by one, 0.05 to 0.1 s by 32 to 1,024, 0.36 s all at once.
"""
RETAINED_UPDATES_MIN = 8
RETAINED_BYTES_MIN = 64 << 10
"""Updates kept beside the last encoded state, before that is encoded anew; see ``is_encoding_due``. A few letters take
150 bytes as an update that is kept, and a busy room has thousands of texts."""


def is_encoding_due(base_bytes: int, since_count: int, since_bytes: int) -> bool:
    """Whether what a rebuild needs, an encoded state and the updates since, is better encoded anew.

    Doing that when those have doubled it costs O(1) an update in the long run, and three times the memory.
    """
    return since_bytes > RETAINED_BYTES_MIN + 2 * base_bytes or since_count > RETAINED_UPDATES_MIN + base_bytes // 64


def apply_to(doc: Doc[Any], update: bytes) -> None:
    """Apply an update that the validator let through.

    Raises:
        InvalidYjsUpdateError: yrs does not take it after all, or panics; the document must be built anew.
    """
    try:
        doc.apply_update(update)
    except (ValueError, RuntimeError) as error:
        raise InvalidYjsUpdateError(f"yrs refuses the update: {error}") from error
    except BaseException as error:
        # A Rust panic: pyo3 derives it from BaseException and exports its class nowhere.
        if type(error).__name__ != "PanicException":
            raise
        raise InvalidYjsUpdateError(f"yrs panics on the update: {error}") from None


def apply_all(doc: Doc[Any], updates: Sequence[bytes]) -> None:
    """Apply many updates that were judged, in their order.

    Raises:
        InvalidYjsUpdateError: yrs does not take one after all; those before it may be in the document.
    """
    for start in range(0, len(updates), COMMIT_MAX):
        with doc.transaction():
            for update in updates[start : start + COMMIT_MAX]:
                apply_to(doc, update)
