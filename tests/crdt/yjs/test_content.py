"""Contents of structs: stepped over whole, or refused."""

from __future__ import annotations

import pytest

from collabkernel.crdt.yjs.content import ContentReader, refuse_kind
from collabkernel.crdt.yjs.parse import Reader
from collabkernel.crdt.yjs.policy import ANY, BINARY, DELETED, EMBED, FORMAT, MAP, NOTEBOOK_POLICY, STRING, TYPE
from collabkernel.errors import InvalidYjsUpdateError

pytestmark = pytest.mark.core


@pytest.mark.parametrize(
    ("kind", "raw", "length", "container"),
    [
        (STRING, b"\x05a\xf0\x9f\x98\x80", 3, None),
        (DELETED, b"\x07", 7, None),
        (FORMAT, b"\x04bold\x04true", 1, None),
        (EMBED, b"\x02{}", 1, None),
        (BINARY, b"\x02\x00\xff", 1, None),
        (ANY, b"\x02\x7e\x77\x01a", 2, None),
        (TYPE, b"\x01", 1, MAP),
    ],
)
def test_a_content_has_a_length_and_may_be_a_container(kind: int, raw: bytes, length: int, container: int | None):
    reader = Reader(raw)

    assert ContentReader(NOTEBOOK_POLICY, reader).content(kind, 1, 0) == (length, container)
    assert reader.at == len(raw)


def test_contents_are_summed_up():
    contents = ContentReader(NOTEBOOK_POLICY, Reader(b"\x05a\xf0\x9f\x98\x80\x02{}\x01b\x011"))

    contents.content(STRING, 9, 4)
    contents.content(EMBED, 9, 7)
    contents.content(FORMAT, 9, 8)

    assert (contents.inserted_chars, contents.embeds, contents.is_ascii) == (2, 1, False)
    assert (list(contents.lows), contents.format_keys) == ([(9, 6)], {"b"})


@pytest.mark.parametrize(
    ("kind", "raw"), [(EMBED, b"\x011"), (FORMAT, b"\x00\x011"), (TYPE, b"\x07"), (2, b"\x00"), (9, b"\x00")]
)
def test_a_content_that_does_not_belong_is_refused(kind: int, raw: bytes):
    with pytest.raises(InvalidYjsUpdateError):
        ContentReader(NOTEBOOK_POLICY, Reader(raw)).content(kind, 1, 0)


def test_a_refused_kind_is_named():
    assert "kind Doc" in str(refuse_kind(9))
    assert "unknown (20)" in str(refuse_kind(20))
