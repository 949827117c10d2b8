"""The rope: a collaborative text, one ``Y.Text`` in a pycrdt document, behind the validator.

Edits made here return the Yjs update to be sent; updates of others go through :class:`~.yjs.update.YjsState` before
pycrdt sees them. Indices and lengths are code points, as in a Python ``str``; yrs counts UTF-8 bytes here and UTF-16
units in its clocks. An embed counts as one character and reads as U+FFFC.

Undo is per local edit, by the items it made and deleted, so others' concurrent text stays (``StackItem`` of yrs; a new
``UndoManager`` each time, because one may only be used in the thread that made it).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pycrdt import Doc, StackItem, Text, UndoManager

from collabkernel.crdt.text_delta import Delta, insertion, splice_delta, to_delta
from collabkernel.crdt.text_doc import EMPTY_STATE, Mark, build
from collabkernel.crdt.text_reading import Embeds, Reading
from collabkernel.crdt.text_values import Attributes, checked_attributes, utf8_length
from collabkernel.crdt.yjs.anchors import Anchors
from collabkernel.crdt.yjs.changes import YjsUpdate
from collabkernel.crdt.yjs.markers import Markers
from collabkernel.crdt.yjs.parse import first_clock
from collabkernel.crdt.yjs.policy import TEXT_POLICY, YjsPolicy
from collabkernel.crdt.yjs.update import YjsState
from collabkernel.crdt.yjs.yrs import apply_all, apply_to, is_encoding_due
from collabkernel.errors import InvalidValueError, InvalidYjsUpdateError

EMBED_CHAR = "\ufffc"
"""What an embed looks like in a string: OBJECT REPLACEMENT CHARACTER."""


class TextStep:
    """Local edits that are undone together; from :meth:`TextRope.take_step`, for :meth:`TextRope.undo`."""

    __slots__ = ("item",)

    def __init__(self, item: StackItem[Any]) -> None:
        self.item = item


class TextUndo(NamedTuple):
    """What an undo did."""

    update: bytes
    """To be sent; empty when nothing was left to undo."""
    step: TextStep | None
    """Undoes the undo."""
    delta: Delta


class _Staged(NamedTuple):
    """An update that was judged, and yrs has not seen yet."""

    update: bytes
    found: YjsUpdate
    client: int


class TextRope:
    """One replica of one text.

    Args:
        client_id: The Yjs client id of edits made here: this replica's site.
        records_steps: Whether local edits are recorded for undo; what they delete is then kept in memory.
        policy: What it may hold.
    """

    def __init__(self, client_id: int, *, records_steps: bool = True, policy: YjsPolicy = TEXT_POLICY) -> None:
        self.client_id = client_id
        self.records_steps = records_steps
        self._state = YjsState(policy)
        self._is_ascii = True
        self._has_embeds = False
        self._base = b""
        self._since: list[tuple[int, bytes]] = []
        self._since_bytes = 0
        self._reading = Reading("")
        self._encoded: bytes | None = None
        self._anchors: Anchors | None = None
        self._step: TextStep | None = None
        self._staged: list[_Staged] = []
        self._built: tuple[Doc[Text], Text] | None = None
        """Made when it is needed: an empty one takes 5 kB, and rooms have many."""

    @classmethod
    def from_state(
        cls, state: bytes, client_id: int, *, records_steps: bool = True, policy: YjsPolicy = TEXT_POLICY
    ) -> TextRope:
        """A replica with the contents of ``encode_state``.

        Raises:
            InvalidYjsUpdateError: The bytes are no state of a text.
        """
        rope = cls(client_id, records_steps=records_steps, policy=policy)
        rope.restore(state)
        return rope

    # What is in it

    def __str__(self) -> str:
        return self.text

    def __len__(self) -> int:
        if self._built is None:
            return 0
        return len(self._text) if self._is_ascii else len(self._read_units())

    @property
    def text(self) -> str:
        units = self._read_units()
        if not self._has_embeds:
            return units
        return "".join(run if isinstance(run, str) else EMBED_CHAR for run, _ in self._text.diff())

    def delta(self) -> Delta:
        """The contents as runs of one formatting each."""
        if self._built is None:
            return []
        return [insertion(run, attributes) for run, attributes in self._text.diff()]

    @property
    def is_empty(self) -> bool:
        """Nobody has ever typed in it."""
        return self.size_bytes <= len(EMPTY_STATE)

    def embeds(self) -> Embeds:
        """Its embeds. A walk over the text after a change by ``apply``, ``apply_staged`` or an undo, else free."""
        return self._reading.embeds_of(self._text) if self._has_embeds else Embeds([], [])

    def anchors(self) -> Anchors:
        """Names of its characters that stay, whatever else is typed; a walk over its items after each change."""
        if self._anchors is None:
            self._anchors = Anchors(self.encode_state(), self._state.order, self._state.policy)
        return self._anchors

    @property
    def markers(self) -> Markers:
        """Of a rope: the blocks whose text begins at a marker in it, staged ones too."""
        return self._state.markers

    def state_vector(self) -> dict[int, int]:
        """The next clock by client id."""
        return dict(self._state.clocks)

    def encode_state(self) -> bytes:
        """Everything, as one update."""
        if self._built is None:
            return EMPTY_STATE
        if self._encoded is None:
            self._encoded = self._doc.get_update()
        return self._encoded

    @property
    def size_bytes(self) -> int:
        """About how large ``encode_state`` is; never much too small, and free."""
        return len(self._base) + self._since_bytes

    # Edits made here

    def insert(self, index: int, text: str, attributes: Attributes | None = None) -> bytes:
        """Put ``text`` before the character at ``index``; it takes the formatting to its left if none is given.

        Returns:
            The update to be sent, empty if ``text`` is.

        Raises:
            IndexError: ``index`` is outside.
            InvalidValueError: ``text`` or ``attributes`` cannot be stored.
        """
        return self.splice(index, 0, text, attributes)

    def delete(self, index: int, length: int) -> bytes:
        """Remove ``length`` characters from ``index`` on; the update to be sent."""
        return self.splice(index, length, "")

    def splice(self, index: int, length: int, text: str, attributes: Attributes | None = None) -> bytes:
        """Replace ``length`` characters from ``index`` on by ``text``, in one update."""
        start, end = self._offsets(index, index + length)
        size = utf8_length(text)
        checked = None if attributes is None else checked_attributes(attributes, self._state.policy)
        if size == 0 and start == end:
            return b""

        def change() -> None:
            if end > start:
                del self._text[start:end]
            if size:
                self._text.insert(start, text, checked)

        return self._edit(change, splice_delta(index, length, text, None))

    def format(self, start: int, end: int, attributes: Attributes) -> bytes:
        """Set attributes of the characters from ``start`` to before ``end``; the value None takes one away."""
        first, last = self._offsets(start, end)
        checked = checked_attributes(attributes, self._state.policy)
        if first == last or not checked:
            return b""
        return self._edit(lambda: self._text.format(first, last, checked), [])

    def embed(self, index: int, value: Mapping[str, Any]) -> bytes:
        """Put an embed before the character at ``index``; it is not recorded for undo.

        Raises:
            IndexError: ``index`` is outside.
            InvalidValueError: The text may not hold it.
        """
        start, _ = self._offsets(index, index)
        delta: Delta = [{"retain": index}, {"insert": dict(value)}]
        return self._capture(lambda: self._text.insert_embed(start, dict(value)), delta)

    # Edits of others

    def apply(self, update: bytes, client: int) -> None:
        """Take an update of the session that writes as ``client``; nothing changes unless all of it is right.

        Raises:
            InvalidYjsUpdateError: It is refused; an update that was applied before is refused as well, see ``covers``.
        """
        found = self._state.check(update, client)
        self._apply(update)
        self._accept(update, found, client)

    def apply_stored(self, updates: Sequence[bytes]) -> None:
        """Take many updates that were applied and stored before, in that order, without judging them again.

        Raises:
            InvalidYjsUpdateError: yrs does not take them after all; the text is as before then.
        """
        mark = self.mark()
        try:
            apply_all(self._doc, updates)
        except InvalidYjsUpdateError:
            self._rebuild()
            raise
        self._encoded = None
        try:
            self.restore(self.encode_state())
        except InvalidYjsUpdateError:
            self.rewind(mark)
            raise

    def apply_with_delta(self, update: bytes, client: int) -> Delta:
        """As ``apply``, and tell what changed: two to three times the cost. What was read before stays read."""
        found = self._state.check(update, client)
        delta = self._observed(lambda: self._apply(update))
        self._accept(update, found, client, delta)
        return delta

    # Edits of others, many at once or none

    def stage(self, update: bytes, client: int) -> None:
        """Judge an update as ``apply`` does, behind those staged before; yrs sees it with ``apply_staged``.

        Raises:
            InvalidYjsUpdateError: It is refused; nothing was changed by it.
        """
        if not self._staged:
            self._state.hold()
        try:
            found = self._state.check(update, client)
        except InvalidYjsUpdateError:
            if not self._staged:
                self._state.rewind()
            raise
        self._state.commit(found)
        self._staged.append(_Staged(update, found, client))

    @property
    def staged(self) -> list[bytes]:
        """The updates that are staged."""
        return [item.update for item in self._staged]

    @property
    def walked(self) -> int:
        """Pieces of the text that were walked over to judge what is staged."""
        return self._state.walked

    def apply_staged(self) -> None:
        """Take what was staged.

        Raises:
            InvalidYjsUpdateError: yrs does not take it after all (a hole in our validator); the text is as it was
                before anything was staged, at the cost of making it anew.
        """
        staged, self._staged = self._staged, []
        try:
            apply_all(self._doc, [item.update for item in staged])
        except InvalidYjsUpdateError:
            self._state.rewind()
            self._rebuild()
            raise
        self._state.release()
        for update, found, client in staged:
            self._note(found)
            self._retain(update, client)

    def drop_staged(self) -> None:
        """Forget what was staged; costs what that brought, however long the text is."""
        if self._staged:
            self._staged = []
            self._state.rewind()

    def make_ready(self) -> None:
        """Do now what the first insert after a load would wait for: making out the order of all items."""
        _ = self._state.order

    def covers(self, update: bytes, client: int) -> bool:
        """Whether an update of ``client`` was applied before: a resend, or one's own. Looks at its first clock only.

        An update that only deletes is never covered; applying that twice changes nothing.
        """
        clock = first_clock(update, client)
        return clock is not None and clock < self._state.clocks.get(client, 0)

    # Undo

    def take_step(self) -> TextStep | None:
        """The local edits since the last call, as one step; None if there were none."""
        step, self._step = self._step, None
        return step

    def undo(self, step: TextStep) -> TextUndo:
        """Take back what survives of a step: its insertions are deleted, its deletions inserted again."""
        manager = UndoManager(scopes=[self._text], capture_timeout_millis=0, timestamp=_no_time, undo_stack=[step.item])
        updates: list[bytes] = []
        delta = self._observed(lambda: updates.append(self._capture(manager.undo)))
        (update,) = updates
        if not update:
            return TextUndo(b"", None, [])
        redo_stack = manager.redo_stack
        return TextUndo(update, TextStep(redo_stack[-1]) if redo_stack else None, delta)

    def forget(self, step: TextStep) -> None:
        """Let go of the deleted text that a step keeps in memory; it is not undone any more."""
        UndoManager(scopes=[self._text], timestamp=_no_time, undo_stack=[step.item]).clear()

    # Going back before anything was sent

    def mark(self) -> Mark:
        """Where ``rewind`` goes back to. Costs next to nothing: it names the updates that made the text."""
        return Mark(self._base, self._since, len(self._since))

    def rewind(self, mark: Mark) -> None:
        """Become the text of a mark, in place; O(text). Edits since must not have been sent: clocks are used again.

        Steps taken before still undo insertions, but text deleted before the mark does not come back.
        """
        state, is_ascii, has_embeds = YjsState(self._state.policy), True, False
        made_by: list[tuple[int | None, bytes]] = [(None, mark.base)] if mark.base else []
        for client, update in [*made_by, *mark.updates]:
            found = state.check(update, client)
            state.commit(found)
            is_ascii, has_embeds = is_ascii and found.is_ascii, has_embeds or found.embeds > 0
        self._built = build(mark, self.client_id) if state.clocks else None
        self._state = state
        self._is_ascii, self._has_embeds = is_ascii, has_embeds
        self._base, self._since = mark.base, mark.updates
        self._since_bytes = sum([len(update) for _, update in self._since])
        self._encoded = self._anchors = self._step = None
        self._reading.forget()

    def restore(self, state: bytes) -> None:
        """Become the text of ``encode_state``, in place.

        Raises:
            InvalidYjsUpdateError: The bytes are no state of a text.
        """
        if not state:
            raise InvalidYjsUpdateError("a stored text has at least two bytes")
        self.rewind(Mark(state, [], 0))

    # Inside

    @property
    def _doc(self) -> Doc[Text]:
        if self._built is None:
            self._built = build(self.mark(), self.client_id)
        return self._built[0]

    @property
    def _text(self) -> Text:
        _ = self._doc
        assert self._built is not None
        return self._built[1]

    def _apply(self, update: bytes) -> None:
        try:
            apply_to(self._doc, update)
        except InvalidYjsUpdateError:
            # yrs may have stopped half-way, and after a panic every later read would panic as well.
            self._rebuild()
            raise

    def _rebuild(self) -> None:
        self._built = build(self.mark(), self.client_id)
        self._encoded = self._anchors = None
        self._reading.forget()

    def _accept(self, update: bytes, found: YjsUpdate, client: int, delta: Delta | None = None) -> None:
        self._state.commit(found)
        self._note(found, delta)
        self._retain(update, client)

    def _note(self, found: YjsUpdate, delta: Delta | None = None) -> None:
        """Take note of a change; None where it is not known what changed where."""
        self._is_ascii = self._is_ascii and found.is_ascii
        self._has_embeds = self._has_embeds or found.embeds > 0
        self._encoded = self._anchors = None
        if delta is None:
            self._reading.forget()
        else:
            self._reading.follow(delta)

    def _retain(self, update: bytes, client: int) -> None:
        """Keep what a rebuild needs: the last encoded state and the updates since."""
        self._since.append((client, update))
        self._since_bytes += len(update)
        if is_encoding_due(len(self._base), len(self._since), self._since_bytes):
            self._base = self.encode_state()
            self._since = []
            self._since_bytes = 0

    def _edit(self, change: Callable[[], None], delta: Delta) -> bytes:
        """Make a change of our own in one transaction: its update, and its step."""

        def run() -> None:
            with self._doc.transaction():
                change()

        if not self.records_steps:
            return self._capture(run, delta)
        recorder = UndoManager(scopes=[self._text], capture_timeout_millis=0, timestamp=_no_time)
        update = self._capture(run, delta)
        for item in recorder.undo_stack:
            self._step = TextStep(item if self._step is None else StackItem.merge(self._step.item, item))
        return update

    def _capture(self, change: Callable[[], object], delta: Delta | None = None) -> bytes:
        # Observed only now: an observer makes every transaction cost O(client ids), remote ones too.
        updates: list[bytes] = []
        subscription = self._doc.observe(lambda event: updates.append(event.update))
        try:
            change()
        finally:
            self._doc.unobserve(subscription)
        if not updates:
            return b""
        (update,) = updates
        try:
            found = self._state.check(update, self.client_id)
        except InvalidYjsUpdateError as error:
            self._rebuild()
            raise InvalidValueError(f"this edit cannot be sent: {error}") from error
        self._accept(update, found, self.client_id, delta)
        return update

    def _observed(self, change: Callable[[], None]) -> Delta:
        before = "" if self._is_ascii else self._read_units()
        parts: list[Delta] = []
        # Below pycrdt's own ``observe``, which takes thrice the time: it looks at the callback's signature, and at all
        # that a delta could hold but a text does not.
        subscription = self._text.integrated.observe(lambda event: parts.append(event.delta))
        try:
            change()
        finally:
            subscription.drop()
        return to_delta([part for delta in parts for part in delta], before)

    def _read_units(self) -> str:
        units = self._reading.units
        return self._reading.read_units(self._text, has_embeds=self._has_embeds) if units is None else units

    def _offsets(self, start: int, end: int) -> tuple[int, int]:
        """UTF-8 offsets of two code point indices."""
        length = len(self)
        if not 0 <= start <= end <= length:
            raise IndexError(f"{start} to {end} is not within a text of {length} characters")
        if self._is_ascii:
            return start, end
        units = self._read_units()
        first = len(units[:start].encode())
        return first, first + len(units[start:end].encode())


def _no_time() -> int:
    """The clock of an ``UndoManager`` that lives for one edit."""
    return 0
