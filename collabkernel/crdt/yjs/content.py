"""The contents of Yjs structs: stepped over strictly, by what a policy allows."""

from __future__ import annotations

from collections.abc import Set

from collabkernel.crdt.ids import OpId
from collabkernel.crdt.yjs.markers import marker_name
from collabkernel.crdt.yjs.parse import Reader, low_surrogates
from collabkernel.crdt.yjs.policy import (
    ANY,
    BINARY,
    DELETED,
    EMBED,
    FORMAT,
    KIND_NAMES,
    SKIP,
    STRING,
    TYPE,
    Reference,
    YjsPolicy,
)
from collabkernel.errors import InvalidYjsUpdateError


def refuse_kind(kind: int) -> InvalidYjsUpdateError:
    """The refusal of a kind of struct that the document may not hold."""
    name = KIND_NAMES[kind] if kind <= SKIP else f"unknown ({kind})"
    return InvalidYjsUpdateError(f"content of kind {name} may not be in this document")


class ContentReader:
    """Steps over the contents of one update and sums up what they bring."""

    __slots__ = ("_policy", "_reader", "embeds", "format_keys", "inserted_chars", "is_ascii", "lows", "markers")

    def __init__(self, policy: YjsPolicy, reader: Reader) -> None:
        self._policy = policy
        self._reader = reader
        self.inserted_chars = 0
        """Code points of text."""
        self.is_ascii = True
        self.embeds = 0
        self.lows: dict[Reference, None] = {}
        """Clocks at which the second half of a surrogate pair stands."""
        self.format_keys: set[str] = set()
        self.markers: list[tuple[OpId, int]] = []
        """Name and clock of each."""

    def content(self, kind: int, client: int, clock: int) -> tuple[int, int | None]:
        """Step over the content of a struct: its length in clocks, and the kind of container that it makes.

        Raises:
            InvalidYjsUpdateError: It is not one, or not one that the policy lets in.
        """
        reader = self._reader
        if kind == ANY:
            count = reader.uint("a number of values")
            for _ in range(count):
                reader.any("a value")
            return count, None
        if kind == STRING:
            return self._string(client, clock), None
        if kind == DELETED:
            return reader.uint("a deleted length"), None
        if kind == FORMAT:
            self._format()
        elif kind == EMBED:
            self._embed(client, clock)
        elif kind == BINARY:
            reader.buffer("a binary")
        elif kind == TYPE:
            container = reader.byte("a type")
            if container not in self._policy.contents:
                raise InvalidYjsUpdateError(f"a container of type {container} may not be in this document")
            return 1, container
        else:  # a policy asks for JSON, Doc or Skip, which nobody may send
            raise InvalidYjsUpdateError(f"content of kind {KIND_NAMES[kind]} is not supported")
        return 1, None

    def root(self) -> str:
        """The name of a root, one that the document has."""
        name = self._reader.string("the name of a root")
        if name not in self._policy.roots:
            raise InvalidYjsUpdateError(f"root {name[:40]!r}; this document has {', '.join(self._policy.roots)}")
        return name

    def key(self) -> str:
        """A map key."""
        raw = self._reader.string("a key")
        if len(raw) * 4 > self._policy.key_bytes_max and len(raw.encode()) > self._policy.key_bytes_max:
            raise InvalidYjsUpdateError(f"a key is over the limit of {self._policy.key_bytes_max} bytes")
        return raw

    def refuse_many_keys(self, known: Set[str]) -> None:
        """Bound the format keys of a document that has seen ``known``."""
        most = self._policy.format_keys_max
        if self.format_keys and len(known | self.format_keys) > most:
            raise InvalidYjsUpdateError(f"over {most} different format keys in one document")

    def _string(self, client: int, clock: int) -> int:
        text = self._reader.string("a text")
        length = len(text)
        self.inserted_chars += length
        if text.isascii():
            return length
        self.is_ascii = False
        if max(text) > "\uffff":
            lows = low_surrogates(text, clock)
            self.lows.update(dict.fromkeys((client, low) for low in lows))
            length += len(lows)
        return length

    def _embed(self, client: int, clock: int) -> None:
        embed = self._reader.json("an embed", self._policy.embed_bytes_max)
        # Anything else, a string above all, yrs would hand out as if it were text.
        if not isinstance(embed, dict):
            raise InvalidYjsUpdateError("an embed is a JSON object")
        self.embeds += 1
        if self._policy.marker_key is not None:
            name = marker_name(self._policy.marker_key, embed)
            if name is None or name.site != client:
                raise InvalidYjsUpdateError("an embed in a rope is the marker of a block of the same site")
            self.markers.append((name, clock))

    def _format(self) -> None:
        policy = self._policy
        key = self._reader.string("a format key")
        if not 0 < len(key.encode()) <= policy.format_key_bytes_max:
            raise InvalidYjsUpdateError(f"a format key has 1 to {policy.format_key_bytes_max} bytes")
        self._reader.json("the value of a format", policy.format_bytes_max)
        self.format_keys.add(key)
