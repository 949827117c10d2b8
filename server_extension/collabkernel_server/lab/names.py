"""Names of JupyterLab's rooms: a document is ``format:type:file id``, a fork 32 hexadecimal digits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from jupyter_ydoc import ydocs
from jupyter_ydoc.ybasedoc import YBaseDoc
from pycrdt import Array, Doc, Map, Text

from collabkernel.crdt.yjs.policy import ARRAY, MAP, TEXT, YjsPolicy, policy_of_roots

GLOBAL_AWARENESS = "JupyterLab:globalAwareness"
"""Who is on this JupyterLab, and what each looks at; a room without a document."""
FORK_PREFIX = "fork:"
FORMATS = ("json", "text", "base64")
_TYPE = re.compile(r"[A-Za-z0-9_.+-]{1,64}")
_FILE_ID = re.compile(r"[A-Za-z0-9_.~-]{1,128}")
_FORK = re.compile(r"[0-9a-f]{32}")
NOBODY = "nobody"
"""An origin that no edit has."""
_KINDS: dict[type, int] = {Array: ARRAY, Map: MAP, Text: TEXT}


@dataclass(frozen=True, slots=True)
class DocumentName:
    """One view of a file: two views of one file (as a notebook, as text) are two documents."""

    format: str
    """How the contents manager gives the file: ``json``, ``text`` or ``base64``."""
    type: str
    """What JupyterLab shows it as: ``notebook``, ``file``, or a type that another package brought."""
    file_id: str

    @classmethod
    def parse(cls, room_id: str) -> DocumentName | None:
        """The document of a room; None for every other name."""
        parts = room_id.split(":")
        if len(parts) != 3:
            return None
        name = cls(*parts)
        is_one = name.format in FORMATS and _TYPE.fullmatch(name.type) and _FILE_ID.fullmatch(name.file_id)
        return name if is_one and is_format_of(name.format, name.type) else None

    @property
    def room_id(self) -> str:
        """As the wire has it, and the storage."""
        return f"{self.format}:{self.type}:{self.file_id}"


def is_fork(room_id: str) -> bool:
    """Whether the wire's name is a fork's."""
    return _FORK.fullmatch(room_id) is not None


def is_document_type(name: str) -> bool:
    """Whether a document may be of this type; one that no package knows is a plain file."""
    return _TYPE.fullmatch(name) is not None


def is_format_of(file_format: str, type_name: str) -> bool:
    """Whether files of this type can be given so: JSON is what the contents manager gives of notebooks alone."""
    return file_format != "json" or type_name == "notebook"


def is_known_type(name: str) -> bool:
    """Whether a package has brought this type."""
    return name in ydocs


def document_class(type_name: str) -> type[YBaseDoc]:
    """The class that knows such a document's layout."""
    found: type[YBaseDoc] = ydocs.get(type_name, ydocs["file"])
    return found


def view_of(type_name: str, ydoc: Doc[Any]) -> YBaseDoc:
    """A view on a replica that is kept. Its undo manager, which each has, would hold all that is ever deleted there."""
    view = document_class(type_name)(ydoc)
    view.undo_manager.include_origin(NOBODY)
    return view


@cache
def policy_of(type_name: str) -> YjsPolicy:
    """What a document of this type may hold: the roots that its class makes, and those that are always there."""
    document = document_class(type_name)(Doc())
    roots = {name: kind for name, root in document.ydoc.items() if (kind := _KINDS.get(type(root))) is not None}
    return policy_of_roots(roots)
