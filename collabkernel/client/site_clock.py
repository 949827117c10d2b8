"""The stamps of one site: on the server's time, above all that was received, and down again when they ran ahead.

A clock that was set forward after the Welcome stamps ahead of the server's, which lowers such stamps. The site learns
of it by its acks; once all that it has made was answered it stamps on from there, or each of its edits would be
lowered until the server's clock has come as far.
"""

from __future__ import annotations

from collabkernel.crdt.clock import HybridLogicalClock, ms_from_hlc
from collabkernel.document.operations import BlockDelete, BlockMove, BlockRekey, Envelope, NewDocument, TextEdit

UNSTAMPED = frozenset((TextEdit, BlockMove, BlockDelete, BlockRekey, NewDocument))
"""Operations whose stamp decides nothing."""


def is_decided_by_stamps(envelope: Envelope) -> bool:
    """Whether an envelope does something else when it is stamped otherwise."""
    return any(op.__class__ not in UNSTAMPED for op in envelope.ops)


class SiteClock:
    """The clock of a replica that is somewhere else than the server."""

    def __init__(self) -> None:
        self.offset_ms = 0
        """Server time minus local time."""
        self.stamps = HybridLogicalClock()
        """Gives the stamps of edits."""
        self._stored_hlc = 0
        """The highest in the log, as far as is known here."""
        self._is_ahead = False

    def now_ms(self, local_ms: int) -> int:
        """Server time."""
        return max(0, local_ms + self.offset_ms)

    def welcomed(self, server_time_ms: int, local_ms: int) -> None:
        """The server has told its time."""
        self.offset_ms = server_time_ms - local_ms

    def observe(self, last_hlc: int, local_ms: int) -> None:
        """The log has this stamp."""
        self._stored_hlc = max(self._stored_hlc, last_hlc)
        self.stamps.observe(last_hlc, self.now_ms(local_ms))

    def answered(self, envelope: Envelope, is_lowered: bool, is_last: bool, local_ms: int) -> None:
        """An own envelope is stored.

        Args:
            envelope: With the stamps that it has in the log.
            is_lowered: It was made with higher ones.
            is_last: None is unanswered.
            local_ms: Local wall clock.
        """
        self._stored_hlc = max(self._stored_hlc, envelope.hlc + len(envelope.ops) - 1)
        if is_lowered:
            self._is_ahead = True
            self.offset_ms = min(self.offset_ms, ms_from_hlc(envelope.hlc) - local_ms)
        if self._is_ahead and is_last:
            self._is_ahead = False
            self.stamps = HybridLogicalClock(self._stored_hlc)
