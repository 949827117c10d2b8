"""Which names are documents', and what a document of each type may hold."""

from __future__ import annotations

import pytest
from collabkernel_server.lab.names import (
    DocumentName,
    document_class,
    is_document_type,
    is_fork,
    is_known_type,
    policy_of,
)
from jupyter_ydoc import YFile, YNotebook, ydocs

from collabkernel.crdt.yjs.policy import ARRAY, MAP, TEXT

pytestmark = pytest.mark.core


@pytest.mark.parametrize("room_id", ["json:notebook:4d3f", "text:file:a-b_c.d~e", "base64:file:1", "text:jcad:x"])
def test_document_is_format_type_and_file(room_id: str) -> None:
    name = DocumentName.parse(room_id)

    assert name is not None
    assert [name.format, name.type, name.file_id] == room_id.split(":")
    assert name.room_id == room_id


@pytest.mark.parametrize(
    "room_id",
    [
        *("", "plan", "json:notebook", "json:notebook:", "json::x", "xml:file:x", "text:file:a/b", "text:file:a:b"),
        *("::", "text:file:a\n", "text:fi le:a", f"text:file:{'x' * 129}", f"text:{'t' * 65}:x", "text:file:\u00e9"),
        *("json:file:x", "json:no-such-type:x"),
    ],
)
def test_other_names_are_no_documents(room_id: str) -> None:
    assert DocumentName.parse(room_id) is None


def test_fork_is_32_hexadecimal_digits() -> None:
    assert is_fork("0123456789abcdef" * 2)
    assert not is_fork("0123456789ABCDEF" * 2)
    assert not is_fork("0" * 31)
    assert not is_fork("0" * 32 + "\n")


def test_type_that_no_package_knows_is_a_file() -> None:
    assert document_class("notebook") is YNotebook
    assert document_class("no-such-type") is YFile
    assert is_document_type("no-such-type")
    assert not is_known_type("no-such-type")
    assert is_known_type("notebook")
    assert not is_document_type("no such type")


@pytest.mark.parametrize("type_name", sorted(ydocs))
def test_policy_allows_the_roots_that_the_class_makes(type_name: str) -> None:
    roots = policy_of(type_name).roots

    assert roots["state"] == MAP
    assert set(document_class(type_name)().ydoc.keys()) <= set(roots)


def test_notebook_holds_cells_and_a_file_one_text() -> None:
    assert policy_of("notebook").roots["cells"] == ARRAY
    assert policy_of("file").roots["source"] == TEXT
