"""The servers that a client may go to: equal ones, of which any will do, in an order of its own."""

from __future__ import annotations

from collections.abc import Iterable

from collabkernel.client.backoff import Chance


class Servers:
    """Base URLs, and the one that it is at. Each client has another order, so that a crowd spreads over all."""

    __slots__ = ("_at", "_left_in_row", "urls")

    def __init__(self, urls: Iterable[str], rng: Chance) -> None:
        """Draw an order.

        Args:
            urls: At least one; one that is named twice counts once.
            rng: Chance.
        """
        self.urls = tuple(sorted(dict.fromkeys(urls), key=lambda _: rng.uniform(0, 1)))
        """In the order in which they are gone to, and round again."""
        assert self.urls, "there is a server"
        self._at = 0
        self._left_in_row = 0

    @property
    def url(self) -> str:
        """Of the one that it is at."""
        return self.urls[self._at]

    def stay(self) -> None:
        """This one serves us."""
        self._left_in_row = 0

    def leave(self) -> bool:
        """Go on to the next: this one does not answer, or sends us away.

        Returns:
            Whether the next one was not left yet since one last served us, and so is worth trying at once.
        """
        self._at = (self._at + 1) % len(self.urls)
        self._left_in_row += 1
        return self._left_in_row % len(self.urls) != 0
