"""Pages that hold an edit which their room has not taken, and what their users are told.

Stock JupyterLab knows no refusal. What it shows is a dialog when its socket is closed with 1003, of which it makes
another at each such close, while it comes back ten times a second. So a page is told once (decision 0010).
"""

from __future__ import annotations

from collections import OrderedDict

from collabkernel.errors import (
    CollabKernelError,
    ForeignClientError,
    InvalidYjsUpdateError,
    ReadOnlyError,
    SplitPairError,
    TooLargeError,
)

PAGES_MAX = 1_000
"""Pages remembered; the one told longest ago is told again."""
CLOSE_CODE = "stale-page"
REASON_BYTES_MAX = 85
"""What a close frame has room for, beside what JupyterLab wants to read there."""


class StalePages:
    """Who was told, by user and Yjs client id: the next load of a page has another id."""

    __slots__ = ("_told",)

    def __init__(self) -> None:
        self._told: OrderedDict[tuple[str, int], None] = OrderedDict()

    def is_told(self, actor: str, client: int | None) -> bool:
        """Whether this page was told."""
        return client is not None and (actor, client) in self._told

    def tell(self, actor: str, client: int) -> bool:
        """Note that it is told; False when it was before."""
        if self.is_told(actor, client):
            return False
        self._told[actor, client] = None
        if len(self._told) > PAGES_MAX:
            self._told.popitem(last=False)
        return True


def reason_of(error: CollabKernelError) -> str:
    """What is told of a refusal, in a sentence or two."""
    match error:
        case ReadOnlyError():
            return "You may read this document, not change it. Reload to see it as it is."
        case ForeignClientError():
            return "You are now logged in as another user: this edit is not shared. Reload to go on."
        case SplitPairError():
            return "Your last edit cut a character in two and is not shared. Reload to go on."
        case TooLargeError():
            return "This document is full: your last edit is not shared. Reload to see it."
        case InvalidYjsUpdateError():
            return "Your last edit is not one that can be shared. Reload to go on."
        case _:
            return "Your last edit is not shared. Reload to go on."


def is_hostile(error: CollabKernelError) -> bool:
    """Whether no page as it comes sends that; then its user is kept out for a while."""
    return isinstance(error, InvalidYjsUpdateError) and not isinstance(error, SplitPairError)
