"""The door to yrs: its errors are ours."""

from __future__ import annotations

from typing import Any

import pytest
from pycrdt import Doc, Text

from collabkernel.crdt.yjs.yrs import apply_to
from collabkernel.errors import InvalidYjsUpdateError


def test_an_update_is_applied():
    author: Doc[Any] = Doc()
    author.get("text", type=Text).insert(0, "hi")
    doc: Doc[Any] = Doc()

    apply_to(doc, author.get_update())

    assert str(doc.get("text", type=Text)) == "hi"


def test_what_yrs_cannot_read_is_refused():
    with pytest.raises(InvalidYjsUpdateError, match="yrs refuses"):
        apply_to(Doc(), b"\x01\x02")


def test_a_panic_is_a_refusal_and_an_interrupt_is_not():
    class PanicException(BaseException):
        pass

    class Panicking:
        def __init__(self, error: type[BaseException]) -> None:
            self.error = error

        def apply_update(self, update: bytes) -> None:
            raise self.error(update)

    with pytest.raises(InvalidYjsUpdateError, match="yrs panics"):
        apply_to(Panicking(PanicException), b"")  # type: ignore[arg-type]  # stands for a document
    with pytest.raises(KeyboardInterrupt):
        apply_to(Panicking(KeyboardInterrupt), b"")  # type: ignore[arg-type]  # stands for a document
