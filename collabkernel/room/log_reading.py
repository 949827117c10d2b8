"""Reading what other servers stored: one read at a time, and again when there was reason to while it was under way."""

from __future__ import annotations

from collabkernel.room.effects import Effect, ReadMissing


class LogReading:
    """Whether the log is being read, and whether it may have more than that read brings."""

    __slots__ = ("is_log_longer", "is_under_way")

    def __init__(self) -> None:
        self.is_under_way = False
        self.is_log_longer = False
        """It may have more than what is being read: that is read again."""

    def ask(self, head: int) -> list[Effect]:
        """Read what follows ``head``; nothing to do now while a read is under way, but another is due after it."""
        if self.is_under_way:
            self.is_log_longer = True
            return []
        self.is_under_way, self.is_log_longer = True, False
        return [ReadMissing(head)]

    def ended(self, is_cut: bool) -> None:
        """The read was answered; ``is_cut`` when the log had more than one answer may have."""
        self.is_under_way = False
        self.is_log_longer = self.is_log_longer or is_cut
