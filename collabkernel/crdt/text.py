"""The rope: a collaborative text, one ``Y.Text`` in a pycrdt document, behind the validator.

Edits made here return the Yjs update to be sent; updates of others go through :class:`~.yjs_update.YjsState` before
pycrdt sees them. Indices and lengths are code points, as in a Python ``str``; yrs counts UTF-8 bytes here and UTF-16
units in its clocks. An embed counts as one character and reads as U+FFFC.

Undo is per local edit, by the items it made and deleted, so others' concurrent text stays (``StackItem`` of yrs; a new
``UndoManager`` each time, because one may only be used in the thread that made it).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from pycrdt import Doc, StackItem, Text, UndoManager, merge_updates

from collabkernel.crdt.text_delta import EMBED_UNIT, Delta, insertion, to_delta
from collabkernel.crdt.yjs_parse import first_clock
from collabkernel.crdt.yjs_update import YjsState, YjsUpdate
from collabkernel.errors import InvalidValueError, InvalidYjsUpdateError

ROOT_NAME = "text"
"""The root type of every rope; the same in every language."""
EMBED_CHAR = "\ufffc"
"""What an embed looks like in a string: OBJECT REPLACEMENT CHARACTER."""
MERGE_MAX = 50
"""Updates in one call of yrs' ``merge_updates``, which takes quadratic time."""
RETAINED_UPDATES_MIN = 1000
RETAINED_BYTES_MIN = 64 << 10
"""Updates kept beside the last encoded state, before that is encoded anew; see ``TextRope._retain``."""
INT_EXACT_MAX = 2**53 - 1
"""Integers that a JavaScript number holds exactly."""

Attributes: TypeAlias = Mapping[str, Any]


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


class Mark(NamedTuple):
    """A text by the updates that made it."""

    base: bytes
    """An encoded state, or nothing."""
    since: tuple[tuple[int, bytes], ...]
    """(client, update) after it."""


class TextRope:
    """One replica of one text.

    Args:
        client_id: The Yjs client id of edits made here: this replica's site.
        records_steps: Whether local edits are recorded for undo; what they delete is then kept in memory.
    """

    def __init__(self, client_id: int, *, records_steps: bool = True) -> None:
        self.client_id = client_id
        self.records_steps = records_steps
        self._state = YjsState()
        self._is_ascii = True
        self._has_embeds = False
        self._base = b""
        self._since: list[tuple[int, bytes]] = []
        self._since_bytes = 0
        self._units: str | None = ""
        self._encoded: bytes | None = None
        self._step: TextStep | None = None
        self._doc, self._text = self._build(Mark(b"", ()))

    @classmethod
    def from_state(cls, state: bytes, client_id: int, *, records_steps: bool = True) -> TextRope:
        """A replica with the contents of ``encode_state``.

        Raises:
            InvalidYjsUpdateError: The bytes are no state of a text.
        """
        rope = cls(client_id, records_steps=records_steps)
        rope.restore(state)
        return rope

    # What is in it

    def __str__(self) -> str:
        return self.text

    def __len__(self) -> int:
        return len(self._text) if self._is_ascii else len(self._read_units())

    @property
    def text(self) -> str:
        units = self._read_units()
        if not self._has_embeds:
            return units
        return "".join(run if isinstance(run, str) else EMBED_CHAR for run, _ in self._text.diff())

    def delta(self) -> Delta:
        """The contents as runs of one formatting each."""
        return [insertion(run, attributes) for run, attributes in self._text.diff()]

    def state_vector(self) -> dict[int, int]:
        """The next clock by client id."""
        return dict(self._state.clocks)

    def encode_state(self) -> bytes:
        """Everything, as one update."""
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
        size = self._check_text(text)
        checked = None if attributes is None else self._check_attributes(attributes)
        if size == 0 and start == end:
            return b""

        def change() -> None:
            if end > start:
                del self._text[start:end]
            if size:
                self._text.insert(start, text, checked)

        return self._edit(change)

    def format(self, start: int, end: int, attributes: Attributes) -> bytes:
        """Set attributes of the characters from ``start`` to before ``end``; the value None takes one away."""
        first, last = self._offsets(start, end)
        checked = self._check_attributes(attributes)
        if first == last or not checked:
            return b""
        return self._edit(lambda: self._text.format(first, last, checked))

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
            with self._doc.transaction():
                for update in updates:
                    _apply_to(self._doc, update)
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
        """As ``apply``, and tell what changed. Not for servers: it costs a walk over the whole text."""
        found = self._state.check(update, client)

        def run() -> None:
            self._apply(update)
            self._accept(update, found, client)

        return self._observed(run)

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
        return Mark(self._base, tuple(self._since))

    def rewind(self, mark: Mark) -> None:
        """Become the text of a mark, in place; O(text). Edits since must not have been sent: clocks are used again.

        Steps taken before still undo insertions, but text deleted before the mark does not come back.
        """
        state, is_ascii, has_embeds = YjsState(), True, False
        made_by: list[tuple[int | None, bytes]] = [(None, mark.base)] if mark.base else []
        for client, update in [*made_by, *mark.since]:
            found = state.check(update, client)
            state.commit(found)
            is_ascii, has_embeds = is_ascii and found.is_ascii, has_embeds or found.embeds > 0
        doc, text = self._build(mark)
        self._doc, self._text, self._state = doc, text, state
        self._is_ascii, self._has_embeds = is_ascii, has_embeds
        self._base, self._since = mark.base, list(mark.since)
        self._since_bytes = sum([len(update) for _, update in mark.since])
        self._units = self._encoded = self._step = None

    def restore(self, state: bytes) -> None:
        """Become the text of ``encode_state``, in place.

        Raises:
            InvalidYjsUpdateError: The bytes are no state of a text.
        """
        if not state:
            raise InvalidYjsUpdateError("a stored text has at least two bytes")
        self.rewind(Mark(state, ()))

    # Inside

    def _build(self, mark: Mark) -> tuple[Doc[Text], Text]:
        # One guid for all, because a StackItem names its document by it and has to survive a rebuild.
        doc: Doc[Text] = Doc(client_id=self.client_id, guid=ROOT_NAME)
        text = doc.get(ROOT_NAME, type=Text)
        if mark.base:
            _apply_to(doc, mark.base)
        for _, update in mark.since:
            _apply_to(doc, update)
        return doc, text

    def _apply(self, update: bytes) -> None:
        try:
            _apply_to(self._doc, update)
        except InvalidYjsUpdateError:
            # yrs may have stopped half-way, and after a panic every later read would panic as well.
            self._rebuild()
            raise

    def _rebuild(self) -> None:
        self._doc, self._text = self._build(self.mark())
        self._units = self._encoded = None

    def _accept(self, update: bytes, found: YjsUpdate, client: int) -> None:
        self._state.commit(found)
        self._is_ascii = self._is_ascii and found.is_ascii
        self._has_embeds = self._has_embeds or found.embeds > 0
        self._units = self._encoded = None
        self._retain(update, client)

    def _retain(self, update: bytes, client: int) -> None:
        """Keep what a rebuild needs: the last encoded state and the updates since.

        Encoding anew when those have doubled it costs O(1) an update in the long run, and three times the memory.
        """
        self._since.append((client, update))
        self._since_bytes += len(update)
        if (
            self._since_bytes > RETAINED_BYTES_MIN + 2 * len(self._base)
            or len(self._since) > RETAINED_UPDATES_MIN + len(self._base) // 64
        ):
            self._base = self.encode_state()
            self._since = []
            self._since_bytes = 0

    def _edit(self, change: Callable[[], None]) -> bytes:
        """Make a change of our own in one transaction: its update, and its step."""

        def run() -> None:
            with self._doc.transaction():
                change()

        if not self.records_steps:
            return self._capture(run)
        recorder = UndoManager(scopes=[self._text], capture_timeout_millis=0, timestamp=_no_time)
        update = self._capture(run)
        for item in recorder.undo_stack:
            self._step = TextStep(item if self._step is None else StackItem.merge(self._step.item, item))
        return update

    def _capture(self, change: Callable[[], object]) -> bytes:
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
        self._accept(update, found, self.client_id)
        return update

    def _observed(self, change: Callable[[], None]) -> Delta:
        before = "" if self._is_ascii else self._read_units()
        parts: list[Delta] = []
        subscription = self._text.observe(lambda event: parts.append(event.delta))  # type: ignore[attr-defined]  # BaseEvent has it
        try:
            change()
        finally:
            self._text.unobserve(subscription)
        return to_delta([part for delta in parts for part in delta], before)

    def _read_units(self) -> str:
        """The text with one character a unit of yrs' indices: an embed is one byte there, and NUL here."""
        if self._units is None:
            if self._has_embeds:
                self._units = "".join(run if isinstance(run, str) else EMBED_UNIT for run, _ in self._text.diff())
            else:
                self._units = str(self._text)
        return self._units

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

    @staticmethod
    def _check_text(text: str) -> int:
        try:
            return len(text.encode())
        except UnicodeEncodeError as error:
            raise InvalidValueError(f"a text cannot hold half a surrogate pair ({error.reason})") from None

    def _check_attributes(self, attributes: Attributes) -> dict[str, Any]:
        policy = self._state.policy
        for key, value in attributes.items():
            if not isinstance(key, str) or not 0 < len(key.encode()) <= policy.format_key_bytes_max:
                raise InvalidValueError(f"a format key is a str of 1 to {policy.format_key_bytes_max} bytes: {key!r}")
            try:
                size = len(json.dumps(value, allow_nan=False, ensure_ascii=False).encode())
            except (TypeError, ValueError, RecursionError) as error:
                raise InvalidValueError(f"the format {key!r} is no JSON: {error}") from None
            if size > policy.format_bytes_max:
                raise InvalidValueError(f"the format {key!r} is over {policy.format_bytes_max} bytes")
            if isinstance(value, int) and abs(value) > INT_EXACT_MAX:
                raise InvalidValueError(f"the format {key!r} is over 2**53 - 1")
        return dict(attributes)


class TextHistory:
    """Undo and redo of one rope's local edits, step by step, for those who have one text and nothing else."""

    def __init__(self, rope: TextRope, steps_max: int = 200) -> None:
        self._rope = rope
        self._steps_max = steps_max
        self._undo: list[TextStep] = []
        self._redo: list[TextStep] = []

    def begin_step(self) -> None:
        """Local edits from here on are a new step; a new edit makes what was undone final."""
        step = self._rope.take_step()
        if step is None:
            return
        for old in self._redo:
            self._rope.forget(old)
        self._redo.clear()
        self._undo.append(step)
        while len(self._undo) > self._steps_max:
            self._rope.forget(self._undo.pop(0))

    def undo_step(self) -> bytes:
        """Undo the last step of which something is left; the update to be sent, empty if there is none."""
        self.begin_step()
        return self._move(self._undo, self._redo)

    def redo_step(self) -> bytes:
        """Undo the last undo; the update to be sent, empty if there is none."""
        self.begin_step()
        return self._move(self._redo, self._undo)

    def _move(self, source: list[TextStep], target: list[TextStep]) -> bytes:
        while source:
            done = self._rope.undo(source.pop())
            if done.step is not None:
                target.append(done.step)
            if done.update:
                return done.update
        return b""


def merge(updates: Sequence[bytes]) -> bytes:
    """One update for many, ``MERGE_MAX`` at a time."""
    merged = list(updates)
    while len(merged) > 1:
        merged = [merge_updates(*merged[start : start + MERGE_MAX]) for start in range(0, len(merged), MERGE_MAX)]
    return merged[0] if merged else b"\x00\x00"


def _apply_to(doc: Doc[Text], update: bytes) -> None:
    try:
        doc.apply_update(update)
    except (ValueError, RuntimeError) as error:
        raise InvalidYjsUpdateError(f"yrs refuses the update: {error}") from error
    except BaseException as error:
        # A Rust panic: pyo3 derives it from BaseException and exports its class nowhere.
        if type(error).__name__ != "PanicException":
            raise
        raise InvalidYjsUpdateError(f"yrs panics on the update: {error}") from None


def _no_time() -> int:
    """The clock of an ``UndoManager`` that lives for one edit."""
    return 0
