"""When a document is saved to its file. Pure: events in, actions out, and the time when it wants to be asked again.

Rules:

- An edit is saved ``debounce_ms`` after the last one, and at the latest ``longest_ms`` after the first one not saved,
  so that somebody who never stops typing is saved too.
- A save that took long is not repeated at once: the next automatic one comes when saving has taken at most
  ``cost_share`` of the time since.
- When every client has switched autosave off, only a save that somebody asked for is made. That one is made at once.
- ``state.dirty = True`` alone leads to a save, which clears it. Opening a document does not.
- After a failure it is tried again with growing pauses. A file that is not writable is not tried.
- One save at a time. Who asks while one is under way is answered by the next, which has his edits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from collabkernel.errors import LocalProtocolError


@dataclass(frozen=True, slots=True)
class Edited:
    """The contents changed, or a client set ``dirty``."""


@dataclass(frozen=True, slots=True)
class AutosaveSet:
    """Whether any client wants to be saved automatically; nobody there counts as yes."""

    is_on: bool


@dataclass(frozen=True, slots=True)
class WritableSet:
    """Whether the file may be written."""

    is_writable: bool


@dataclass(frozen=True, slots=True)
class SaveAsked:
    """Somebody wants it saved now."""

    asker: int


@dataclass(frozen=True, slots=True)
class SaveEnded:
    """The save under way is over."""

    is_saved: bool
    cost_ms: float
    """What it took of this process's time."""
    is_busy: bool = False
    """Not saved because somebody else is at it: no failure, to be tried again soon."""


@dataclass(frozen=True, slots=True)
class Due:
    """The time that ``due_ms`` named has come."""


Event: TypeAlias = Edited | AutosaveSet | WritableSet | SaveAsked | SaveEnded | Due


@dataclass(frozen=True, slots=True)
class Save:
    """Save now; tell by ``SaveEnded`` how it went."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Tell who asked how it went."""

    asker: int
    status: str
    """``success`` or ``failed``."""


Action: TypeAlias = Save | Answer


@dataclass(frozen=True, slots=True)
class SavePauses:
    """How long a save waits, and for what."""

    debounce_ms: int = 1000
    """After the last edit: people stop for a second after a thought."""
    longest_ms: int = 5000
    """After the first one: what a crash of the machine's disk of shared files may cost."""
    cost_share: float = 0.05
    """Of this process's time, for automatic saves of one document."""
    busy_ms: int = 500
    """Until it is tried again when another server is saving it."""
    retry_min_ms: int = 1000
    retry_max_ms: int = 60_000
    """Between two tries that fail, doubled each time: a full disk is not hammered."""
    asked_share: int = 5
    """Tries that find another server at it, before who asked is told that it failed."""


@dataclass(slots=True)
class SaveClock:
    """Decides when to save one document."""

    pauses: SavePauses = field(default_factory=SavePauses)
    is_autosave: bool = True
    is_writable: bool = True
    _first_edit_ms: int | None = None
    """Of what is not saved; None when all is."""
    _last_edit_ms: int = 0
    _not_before_ms: int = 0
    """Automatic saves wait for this: the last one's cost, or the pause after a failure."""
    _failures: int = 0
    _busy_tries: int = 0
    _is_saving: bool = False
    _waiting: list[int] = field(default_factory=list)
    """Who is answered by the save under way, or by the one that waits for another server."""
    _next: list[int] = field(default_factory=list)
    """Who asked after it had begun."""
    _saving_since_ms: int | None = None
    """The first edit that came after the save under way had begun."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing waits to be saved and no save is under way."""
        return self._first_edit_ms is None and not self._is_saving

    @property
    def is_saving(self) -> bool:
        """Whether a save is under way."""
        return self._is_saving

    @property
    def has_newer(self) -> bool:
        """Whether something was edited since the save under way began."""
        return self._saving_since_ms is not None

    @property
    def due_ms(self) -> int | None:
        """When ``Due`` is wanted; None when nothing waits."""
        if self._is_saving or (self._first_edit_ms is None and not self._waiting):
            return None
        if self._waiting:
            return self._not_before_ms
        if not self.is_autosave or not self.is_writable:
            return None
        assert self._first_edit_ms is not None
        wanted_ms = min(self._last_edit_ms + self.pauses.debounce_ms, self._first_edit_ms + self.pauses.longest_ms)
        return max(wanted_ms, self._not_before_ms)

    def handle(self, event: Event, now_ms: int) -> list[Action]:
        """What follows from an event."""
        match event:
            case Edited():
                self._on_edited(now_ms)
                return []
            case AutosaveSet():
                self.is_autosave = event.is_on
                return []
            case WritableSet():
                self.is_writable = event.is_writable
                return []
            case SaveAsked():
                return self._on_asked(event.asker)
            case SaveEnded():
                return self._on_ended(event, now_ms)
            case Due():
                return self._begin() if self.due_ms is not None and now_ms >= self.due_ms else []

    def _on_edited(self, now_ms: int) -> None:
        self._last_edit_ms = now_ms
        if self._is_saving and self._saving_since_ms is None:
            self._saving_since_ms = now_ms
        if self._first_edit_ms is None:
            self._first_edit_ms = now_ms

    def _on_asked(self, asker: int) -> list[Action]:
        if not self.is_writable:
            return [Answer(asker, "failed")]
        if self._is_saving:
            self._next.append(asker)
            return []
        self._waiting.append(asker)
        return self._begin()

    def _begin(self) -> list[Action]:
        self._is_saving = True
        self._saving_since_ms = None
        return [Save()]

    def _on_ended(self, event: SaveEnded, now_ms: int) -> list[Action]:
        if not self._is_saving:
            raise LocalProtocolError("a save ended that never began")
        self._is_saving = False
        if event.is_busy:
            return self._on_busy(now_ms)
        self._busy_tries = 0
        if event.is_saved:
            self._failures = 0
            self._first_edit_ms = self._saving_since_ms
            self._not_before_ms = now_ms + int(event.cost_ms * (1 / self.pauses.cost_share - 1))
        else:
            self._failures += 1
            self._not_before_ms = now_ms + self._pause_ms()
        return self._answered("success" if event.is_saved else "failed")

    def _on_busy(self, now_ms: int) -> list[Action]:
        self._busy_tries += 1
        self._not_before_ms = now_ms + self.pauses.busy_ms
        self._waiting += self._next
        self._next.clear()
        if self._busy_tries < self.pauses.asked_share or not self._waiting:
            return []
        return self._answered("failed")

    def _answered(self, status: str) -> list[Action]:
        answers: list[Action] = [Answer(asker, status) for asker in self._waiting]
        self._waiting, self._next = self._next, []
        return [*answers, *self._begin()] if self._waiting else answers

    def _pause_ms(self) -> int:
        doubled: int = self.pauses.retry_min_ms << min(self._failures - 1, 16)
        return min(doubled, self.pauses.retry_max_ms)
