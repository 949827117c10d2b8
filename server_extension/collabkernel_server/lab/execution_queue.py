"""The order in which one kernel's cells run: as they were asked for, by whomever.

A page asks for the cells of "Run All" one by one over several connections, so that they may come out of order. What one
person asks for in one notebook within a moment is one wish, and runs in the notebook's order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from collabkernel.errors import CollabKernelError, TooManyError

QUEUE_RETRY_MS = 1000
"""When somebody whose cells found no room may ask again."""


class CellUnknownError(CollabKernelError):
    """The notebook has no such code cell."""

    code = "cell-unknown"

    def __init__(self, document_id: str, cell_id: str) -> None:
        super().__init__(f"document {document_id} has no code cell {cell_id!r}")


@dataclass(frozen=True, slots=True)
class CellRequest:
    """A cell that somebody wants to be run."""

    document_id: str
    cell_id: str
    actor: str
    source: str = ""
    """The code as it was when it was asked for."""
    position: int = 0
    """Where in the notebook the cell was."""


class ExecutionQueue:
    """The cells that wait for a kernel."""

    def __init__(self, cells_max: int) -> None:
        self._cells_max = cells_max
        self._waiting: list[CellRequest] = []

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def waiting(self) -> tuple[CellRequest, ...]:
        """The next one first."""
        return tuple(self._waiting)

    def check(self, more: int) -> None:
        """Refuse what there is no room for.

        Raises:
            TooManyError: If so many more are too many.
        """
        if len(self._waiting) + more > self._cells_max:
            raise TooManyError("cells waiting for this kernel", self._cells_max, QUEUE_RETRY_MS)

    def add(self, requests: Iterable[CellRequest]) -> None:
        """Queue what was asked for within a moment."""
        requests = list(requests)
        first: dict[tuple[str, str], int] = {}
        for index, request in enumerate(requests):
            first.setdefault((request.actor, request.document_id), index)
        requests.sort(key=lambda request: (first[request.actor, request.document_id], request.position))
        self._waiting += requests

    def pop(self) -> CellRequest:
        """Take the next one."""
        return self._waiting.pop(0)

    def drop(self, is_dropped: Callable[[CellRequest], bool] = lambda _: True) -> list[CellRequest]:
        """Take out what is not to run any more."""
        dropped = [request for request in self._waiting if is_dropped(request)]
        self._waiting = [request for request in self._waiting if not is_dropped(request)]
        return dropped
