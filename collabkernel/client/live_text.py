"""A live text: reads like a ``str``, changes in place, and merges what several people type at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

from collabkernel.client.live import Live
from collabkernel.client.sketch import Sketch
from collabkernel.crdt.text import TextRope
from collabkernel.document.live_tree import LiveTree, TextNode
from collabkernel.document.operations import ContainerKind
from collabkernel.errors import InvalidValueError


class LiveText(Live):
    """A text. ``LiveText("hello")`` is a draft: put it into a room to share it.

    Indexes count characters as in a ``str``. ``insert``, ``delete``, ``replace`` and ``+=`` send the edit alone, so
    two people can write in one text at once; assigning a new string to its key would replace the whole.
    """

    kind: ClassVar[ContainerKind] = ContainerKind.TEXT

    def __init__(self, text: str = "") -> None:
        super().__init__()
        if not isinstance(text, str):
            raise InvalidValueError(f"a text is made of a str, not {type(text).__name__}")
        self._draft = text

    # -- reading

    def __str__(self) -> str:
        context = self._context
        if context is None:
            return self._draft
        with context.lock:
            return self._rope(context.replica.tree).text

    def __len__(self) -> int:
        context = self._context
        if context is None:
            return len(self._draft)
        with context.lock:
            return len(self._rope(context.replica.tree))

    def __getitem__(self, index: int | slice) -> str:
        return str(self)[index]

    def __iter__(self) -> Iterator[str]:
        return iter(str(self))

    def __contains__(self, part: object) -> bool:
        return isinstance(part, str) and part in str(self)

    def __bool__(self) -> bool:
        return len(self) > 0

    def __add__(self, other: str) -> str:
        return str(self) + str(other)

    def __radd__(self, other: str) -> str:
        return str(other) + str(self)

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __repr__(self) -> str:
        return f"LiveText({str(self)!r})"

    def to_delta(self) -> list[dict[str, Any]]:
        """The text as runs of one formatting each, in Quill's form."""
        context = self._context
        if context is None:
            return [{"insert": self._draft}] if self._draft else []
        with context.lock:
            return self._rope(context.replica.tree).delta()

    def find(self, part: str, start: int = 0) -> int:
        """Index of the first occurrence at or after ``start``; -1 if there is none."""
        return str(self).find(part, start)

    # -- changing

    def insert(self, index: int, text: str, **attributes: Any) -> None:
        """Put ``text`` before the character at ``index``; ``bold=True`` and the like format it."""
        self._splice(index, index, text, attributes)

    def append(self, text: str, **attributes: Any) -> None:
        """Put ``text`` at the end."""
        context = self._room()
        with context.lock:
            end = len(self)
            self._splice(end, end, text, attributes)

    def delete(self, start: int, stop: int | None = None) -> None:
        """Remove the characters from ``start`` to before ``stop``; without ``stop``, one character."""
        if stop is None:
            del self[start]
        else:
            self._splice(start, stop, "", {})

    def replace(self, start: int, stop: int, text: str, **attributes: Any) -> None:
        """Put ``text`` in the place of the characters from ``start`` to before ``stop``."""
        self._splice(start, stop, text, attributes)

    def clear(self) -> None:
        """Remove everything."""
        context = self._room()
        with context.lock:
            self._splice(0, len(self), "", {})

    def format(self, start: int, stop: int, **attributes: Any) -> None:
        """Format the characters from ``start`` to before ``stop``: ``bold=True``; None takes a format away."""
        context = self._room()
        with context.lock:
            self._attached(context.replica.tree)
            first, last = self._range(start, stop)
            with context.editing() as edit:
                edit.format_text(self._id, first, last, attributes)

    def __iadd__(self, text: str) -> Self:
        self.append(str(text))
        return self

    def __delitem__(self, index: int | slice) -> None:
        start, stop = self._stretch(index)
        self._splice(start, stop, "", {})

    def __setitem__(self, index: int | slice, text: str) -> None:
        start, stop = self._stretch(index)
        self._splice(start, stop, text, {})

    # -- inside

    def _splice(self, start: int, stop: int, text: str, attributes: Mapping[str, Any]) -> None:
        if not isinstance(text, str | LiveText):
            raise InvalidValueError(f"a text takes a str, not {type(text).__name__}: use str(value)")
        context = self._room()
        with context.lock:
            self._attached(context.replica.tree)
            first, last = self._range(start, stop)
            with context.editing() as edit:
                edit.splice_text(self._id, first, last - first, str(text), attributes or None)

    def _range(self, start: int, stop: int) -> tuple[int, int]:
        """Start and stop as slices read them: negative from the end, cut to the text."""
        first, last, _ = slice(start, stop).indices(len(self))
        return first, max(first, last)

    def _stretch(self, index: int | slice) -> tuple[int, int]:
        length = len(self)
        if isinstance(index, slice):
            start, stop, step = index.indices(length)
            if step != 1:
                raise InvalidValueError("a text is changed by stretches: a slice with a step is none")
            return start, max(start, stop)
        if not -length <= index < length:
            raise IndexError(f"index {index} in a text of {length} characters")
        return index % length, index % length + 1

    def _rope(self, tree: LiveTree) -> TextRope:
        node = self._node(tree)
        assert isinstance(node, TextNode)
        return node.rope

    def _draft_sketch(self, depth: int) -> Sketch:  # noqa: ARG002  # a text has no depth
        return Sketch(ContainerKind.TEXT, delta=self.to_delta(), origin=self)
