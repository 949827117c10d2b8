"""What a room gathers for its sessions and sends at its ticks: the log, presence, broadcasts.

Each has a tick of its own. When one is due, what is half due goes along: a write to a socket costs more than what is in
it, and all that a room says in one turn is one write.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from collabkernel.room.effects import Effect
from collabkernel.room.session import Session

COMMIT_MS = 10
"""A busy server's sessions are shown what is due behind the acks of the commit that is under way, if that ends so soon:
while a thousand sockets are written to, a commit takes four times as long."""


class Board(Protocol):
    """One thing that is gathered."""

    def due_ms(self) -> int | None:
        """When to ``send``; None when there is nothing."""

    def early_ms(self) -> int | None:
        """From when on to ``send`` beside something else that is sent; None when there is nothing."""

    def send(self, sessions: Collection[Session], now_ms: int) -> list[Effect]:
        """Send what was gathered."""


class Boards:
    """All of one room, in the order in which they are sent."""

    __slots__ = ("_answered", "_boards", "_is_held")

    def __init__(self, *boards: Board) -> None:
        self._boards = boards
        self._answered = 0
        self._is_held = False

    def hold(self, is_busy: bool, is_settled: bool, answered: int) -> None:
        """Whether what is due waits for a commit, until this is asked again.

        Args:
            is_busy: The server has more to do than its processor gives.
            is_settled: Nothing is under way.
            answered: How many envelopes the log has answered for; more than before means that a commit has just ended.
        """
        self._is_held = is_busy and not is_settled and answered == self._answered
        self._answered = answered

    def due_ms(self) -> int | None:
        """When the first is due."""
        due_ms = min([due_ms for board in self._boards if (due_ms := board.due_ms()) is not None], default=None)
        return due_ms + COMMIT_MS if due_ms is not None and self._is_held else due_ms

    def send_due(self, sessions: Collection[Session], now_ms: int) -> list[Effect]:
        """Send what is due, and beside it what is half due."""
        due_ms = self.due_ms()
        if due_ms is None or due_ms > now_ms:
            return []
        effects: list[Effect] = []
        for board in self._boards:
            early_ms = board.early_ms()
            if early_ms is not None and early_ms <= now_ms:
                effects += board.send(sessions, now_ms)
        return effects
