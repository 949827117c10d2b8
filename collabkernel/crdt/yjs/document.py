"""A JupyterLab document: one pycrdt document behind the validator, as the server keeps it.

Updates of clients are judged first (``check``) and applied then (``apply``); those of the log were judged before they
were stored (``apply_stored``). yrs may still panic on what no one foresaw, so what a rebuild needs is kept: the last
encoded state, and the updates since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from pycrdt import Array, Doc, Map, Text

from collabkernel.crdt.yjs.history import YjsHistory, YjsNews
from collabkernel.crdt.yjs.parse import UINT_MAX, decode_vector, encode_vector
from collabkernel.crdt.yjs.policy import ARRAY, MAP, TEXT, YjsPolicy
from collabkernel.crdt.yjs.structs import NOTHING
from collabkernel.crdt.yjs.yrs import apply_all, apply_to, is_encoding_due
from collabkernel.errors import InvalidValueError, InvalidYjsUpdateError, MalformedFrameError

JsonValue: TypeAlias = Any
"""None, bool, int, float, str, or lists and dicts of them."""
RELEARN_UPDATES_MIN = 1000
"""Stored updates from which on reading the whole state once is cheaper than reading each of them."""

_ROOT_TYPES: Mapping[int, type[Any]] = {ARRAY: Array, MAP: Map, TEXT: Text}


class YjsChange(NamedTuple):
    """What an update would change; from :meth:`YDocument.check`, for :meth:`YDocument.apply`."""

    update: bytes
    """What is new, as one update; the bytes as they came if all of them is."""
    clients: frozenset[int]
    """Client ids with new structs."""
    is_new: bool
    """False if every struct and delete was known: there is nothing to apply or store."""
    news: YjsNews


class YDocument:
    """One replica of one document.

    Args:
        policy: What the document may hold.
        client_id: The Yjs client id of edits made here.
        state: What ``encode_state`` gave, or nothing.

    Raises:
        InvalidYjsUpdateError: ``state`` is no state of such a document.
    """

    def __init__(self, policy: YjsPolicy, client_id: int, state: bytes = b"") -> None:
        self.policy = policy
        self.client_id = client_id
        self._base = b""
        self._since: list[bytes] = []
        self._since_bytes = 0
        self._encoded: bytes | None = None
        self._checked: YjsChange | None = None
        self._history = self._learn(state)
        self._base = state
        self._encoded = state or None
        self._doc = self._build()

    # What is in it

    def state_vector(self) -> bytes:
        """The next clock by client, as a sync step 1 carries it."""
        return encode_vector(self._history.clocks)

    def encode_state(self) -> bytes:
        """Everything, as one update; kept until the next change."""
        if self._encoded is None:
            self._encoded = self._doc.get_update()
        return self._encoded

    def missing(self, state_vector: bytes) -> bytes:
        """What somebody with that state vector lacks, as one update: the answer to sync step 1.

        Raises:
            MalformedFrameError: The bytes are no state vector.
        """
        try:
            theirs = decode_vector(state_vector)
        except InvalidYjsUpdateError as error:
            raise MalformedFrameError(f"not a state vector: {error}") from None
        known = {}
        for client, clock in theirs.items():
            ours = self._history.clocks.get(client, 0)
            # yrs would cut a surrogate pair in two, and count on from clocks that do not exist.
            clock = min(clock, ours)
            known[client] = clock - 1 if self._history.splits_pair(client, clock) else clock
        known = {client: clock for client, clock in known.items() if clock}
        return self._doc.get_update(encode_vector(known)) if known else self.encode_state()

    def map_json(self, root: str) -> dict[str, JsonValue]:
        """The contents of a root map."""
        found: dict[str, JsonValue] = self._map(root).to_py() or {}
        return found

    @property
    def size_bytes(self) -> int:
        """About how large ``encode_state`` is; never much too small, and free."""
        return len(self._base) + self._since_bytes

    # Updates of others

    def check(self, update: bytes) -> YjsChange:
        """Judge an update of a client; nothing is changed.

        Raises:
            YjsGapError: It continues what is not here: ask its sender for what is missing.
            InvalidYjsUpdateError: It must not be applied.
        """
        news = self._history.check(update)
        is_new = news.update != NOTHING
        self._checked = YjsChange(news.update, frozenset(news.clocks), is_new, news)
        return self._checked

    def apply(self, change: YjsChange) -> None:
        """Apply what ``check`` returned.

        Raises:
            InvalidYjsUpdateError: yrs does not take it after all; the document is as before then.
        """
        if change is not self._checked:
            change = self.check(change.update)
        self._checked = None
        if not change.is_new:
            return
        try:
            apply_to(self._doc, change.update)
        except InvalidYjsUpdateError:
            # yrs may have stopped half-way, and after a panic every later read would panic as well.
            self._doc = self._build()
            raise
        self._accept(change.news)

    def apply_stored(self, updates: Sequence[bytes]) -> None:
        """Take updates that were judged and stored before, in that order.

        Raises:
            InvalidYjsUpdateError: yrs does not take them after all; the document is as before then.
        """
        try:
            apply_all(self._doc, updates)
            self._encoded = None
            if len(updates) >= RELEARN_UPDATES_MIN or not all(self._follow(update) for update in updates):
                self._relearn()
        except InvalidYjsUpdateError:
            self._doc, self._history = self._build(), self._learn(self._base, self._since)
            self._encoded = self._checked = None
            raise

    # Edits made here

    def set_map(self, root: str, values: Mapping[str, JsonValue]) -> bytes:
        """Set entries of a root map, those that differ.

        Returns:
            The update to be stored and sent; empty if nothing changed.

        Raises:
            InvalidValueError: A value is no JSON, or too large or deep for the document.
        """
        target = self._map(root)
        old = self.map_json(root)
        new = {_whole(key): _as_yjs(value) for key, value in values.items()}
        changed = {key: value for key, value in new.items() if key not in old or not _is_same(old[key], value)}
        if not changed:
            return b""
        updates: list[bytes] = []
        subscription = self._doc.observe(lambda event: updates.append(event.update))
        try:
            with self._doc.transaction():
                for key, value in changed.items():
                    target[key] = value
        finally:
            self._doc.unobserve(subscription)
        (update,) = updates
        try:
            news = self._history.check(update)
        except InvalidYjsUpdateError as error:
            self._doc = self._build()
            raise InvalidValueError(f"this edit cannot be stored: {error}") from error
        self._checked = None
        self._accept(news)
        return update

    # Inside

    def _build(self) -> Doc[Any]:
        doc: Doc[Any] = Doc(client_id=self.client_id)
        for name, kind in self.policy.roots.items():
            doc.get(name, type=_ROOT_TYPES[kind])
        apply_all(doc, [self._base, *self._since] if self._base else self._since)
        return doc

    def _learn(self, state: bytes, updates: Sequence[bytes] = ()) -> YjsHistory:
        history = YjsHistory(self.policy)
        if state:
            history.load(state)
        for update in updates:
            history.commit(history.check(update))
        return history

    def _follow(self, update: bytes) -> bool:
        """Advance past a stored update; False if its structs do not follow here, and the state has to be read."""
        try:
            news = self._history.check(update)
        except InvalidYjsUpdateError:
            return False
        self._checked = None
        if news.update != NOTHING:
            self._history.commit(news)
            self._retain(news.update)
        return True

    def _relearn(self) -> None:
        state = self.encode_state()
        self._history = self._learn(state)
        self._base, self._since, self._since_bytes = state, [], 0
        self._checked = None

    def _accept(self, news: YjsNews) -> None:
        self._history.commit(news)
        self._encoded = None
        self._retain(news.update)

    def _retain(self, update: bytes) -> None:
        """Keep what a rebuild needs: the last encoded state and the updates since."""
        self._since.append(update)
        self._since_bytes += len(update)
        if is_encoding_due(len(self._base), len(self._since), self._since_bytes):
            self._base = self.encode_state()
            self._since = []
            self._since_bytes = 0

    def _map(self, root: str) -> Map[Any]:
        found: Map[Any] = self._doc.get(root, type=Map)
        return found


def _as_yjs(value: JsonValue) -> JsonValue:
    """JSON as JavaScript has it: every number is a float, or a browser would read it as a BigInt."""
    if isinstance(value, (bool, float)) or value is None:
        return value
    if isinstance(value, str):
        return _whole(value)
    if isinstance(value, int) and abs(value) <= UINT_MAX:
        return float(value)
    if isinstance(value, Mapping):
        return {_whole(str(key)): _as_yjs(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_yjs(entry) for entry in value]
    raise InvalidValueError(f"{value!r} is no JSON that a browser reads")


def _whole(text: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidValueError(f"a string cannot hold half a surrogate pair ({error.reason})") from None
    return text


def _is_same(old: JsonValue, new: JsonValue) -> bool:
    """Equality that tells True from 1."""
    return type(old) is type(new) and old == new
