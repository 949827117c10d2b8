"""What a running cell shows, made of the kernel's messages: bounded, and the same however fast they come.

The document is brought up to this state a few times a second, so that what came and went in between costs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from collabkernel_server.lab.output_links import rest_bundle
from collabkernel_server.lab.stream_text import StreamText

TAIL_CHARS = 4000
"""Of a text that goes on in a file, what is shown of its end: a screenful."""
PRINT_CHARS = 1 << 16
"""Of a text that overwrites itself, what is printed before looking how much is left of it."""
TRACEBACK_LINES = 100
"""Of a traceback that is too long, what is kept at either end."""


class Spool(Protocol):
    """A file that takes the text for which a document has no room."""

    size_bytes: int

    def write(self, text: str) -> None:
        """Add text."""

    def close(self) -> str:
        """Its address, now that it is whole; empty when it could not be kept."""

    def discard(self) -> None:
        """Forget it."""


@dataclass(frozen=True, slots=True)
class OutputBounds:
    """How much of a cell's outputs is in its document."""

    inline_bytes: int
    """One output, or one stream."""
    cell_bytes: int
    """All of a cell's."""
    outputs: int
    """How many."""


class Shown:
    """An output that does not change: another one takes its place."""

    def __init__(self, output: dict[str, Any], size_bytes: int, display_id: str = "") -> None:
        self.output = output
        self.size_bytes = size_bytes
        self.display_id = display_id


class Stream:
    """What was printed to one of the two streams, until something else was shown."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = StreamText()


Item = Shown | Stream


def value_bytes(value: object) -> int:
    """About what a value takes as JSON."""
    if isinstance(value, str):
        return len(value)
    return len(json.dumps(value, default=str))


def bundle_bytes(data: Mapping[str, Any]) -> int:
    """About what the representations of an output take."""
    return sum(len(mime) + value_bytes(value) for mime, value in data.items())


class CellOutputs:
    """The outputs of one run of a cell."""

    def __init__(self, bounds: OutputBounds, make_spool: Callable[[], Spool]) -> None:
        self._bounds = bounds
        self._make_spool = make_spool
        self._items: list[Item] = []
        self._shown_bytes = 0
        self._clears_next = False
        self._spool: Spool | None = None
        self._tail = ""
        self._left_out = 0
        self._rest: Shown | None = None
        """Tells where the text goes on; None when it has to be made anew."""
        self._url: str | None = None

    def items(self) -> list[Item]:
        """What is to be seen now."""
        if self._spool is None:
            return list(self._items)
        if self._rest is None:
            data = rest_bundle(self._url, self._spool.size_bytes, self._tail, self._left_out)
            output = {"output_type": "display_data", "data": data, "metadata": {}}
            self._rest = Shown(output, bundle_bytes(data))
        return [*self._items, self._rest]

    @property
    def has_displays(self) -> bool:
        """Whether something of it can be updated later."""
        return any(isinstance(item, Shown) and item.display_id for item in self._items)

    @property
    def has_failed(self) -> bool:
        """Whether an exception is shown."""
        return any(isinstance(item, Shown) and item.output["output_type"] == "error" for item in self._items)

    @property
    def display_bytes_max(self) -> int:
        """How large the next output may be; a larger one is put into a file first."""
        return max(0, min(self._bounds.inline_bytes, self._bounds.cell_bytes - self._inline_bytes()))

    # -- what the kernel says

    def clear(self, wait: bool) -> None:
        """Show nothing any more, at once or when the next output comes."""
        self._clears_next = wait
        if wait:
            return
        self._items.clear()
        self._shown_bytes = 0
        self._left_out = 0
        self._rest = None
        self._tail = ""
        if self._spool is not None:
            self._spool.discard()
            self._spool = None

    def forget(self, count: int, chars: int) -> None:
        """Somebody cleared them: what he saw, so many outputs and so much of the stream behind them, is gone."""
        gone = self._items[:count]
        self._shown_bytes -= sum(item.size_bytes for item in gone if isinstance(item, Shown))
        del self._items[:count]
        if chars and self._items and isinstance(self._items[0], Stream):
            fresh = Stream(self._items[0].name)
            fresh.text.write(self._items[0].text.text[chars:])
            self._items[0] = fresh

    def print(self, name: str, text: str) -> None:
        """Text on a stream."""
        self._before_output()
        if self._spool is not None:
            self._write_rest(text)
            return
        last = self._items[-1] if self._items else None
        if not isinstance(last, Stream) or last.name != name:
            if len(self._items) >= self._bounds.outputs:
                self._write_rest(text)
                return
            last = Stream(name)
            self._items.append(last)
        if rest := self._print_on(last, text):
            self._write_rest(rest)

    def _print_on(self, stream: Stream, text: str) -> str:
        """What there was no room for."""
        room = max(0, min(self._bounds.inline_bytes - len(stream.text), self._bounds.cell_bytes - self._inline_bytes()))
        if "\r" not in text and "\b" not in text:
            stream.text.write(text[:room])
            return text[room:]
        # A progress bar overwrites itself: what counts is what is left of it.
        limit = len(stream.text) + room
        for start in range(0, len(text), PRINT_CHARS):
            if len(stream.text) > limit:
                return text[start:]
            stream.text.write(text[start : start + PRINT_CHARS])
        return ""

    def show(self, output_type: str, content: Mapping[str, Any]) -> None:
        """An output of another kind: ``display_data`` or ``execute_result``."""
        self._before_output()
        data = dict(content.get("data") or {})
        if len(self._items) >= self._bounds.outputs:
            self._left_out += 1
            self._write_rest(f"{data.get('text/plain', '(an output)')}\n")
            return
        output: dict[str, Any] = {
            "output_type": output_type,
            "data": data,
            "metadata": dict(content.get("metadata") or {}),
        }
        if output_type == "execute_result":
            output["execution_count"] = content.get("execution_count")
        display_id = (content.get("transient") or {}).get("display_id") or ""
        self._add(Shown(output, bundle_bytes(data), str(display_id)))

    def update(self, display_id: str, content: Mapping[str, Any]) -> bool:
        """Put another value into every output of that id; whether there is one."""
        has_changed = False
        for index, item in enumerate(self._items):
            if isinstance(item, Shown) and item.display_id == display_id and display_id:
                data = dict(content.get("data") or {})
                output = item.output | {"data": data, "metadata": dict(content.get("metadata") or {})}
                fresh = Shown(output, bundle_bytes(data), display_id)
                self._shown_bytes += fresh.size_bytes - item.size_bytes
                self._items[index] = fresh
                has_changed = True
        return has_changed

    def fail(self, name: str, value: str, traceback: list[str]) -> None:
        """The exception that ended the run; it is always shown."""
        self._before_output()
        if len("".join(traceback)) + len(value) > self._bounds.inline_bytes:
            self._write_rest("\n".join((*traceback, "")))
            half = self._bounds.inline_bytes // 4
            kept = "\n".join((*traceback[:TRACEBACK_LINES], "...", *traceback[-TRACEBACK_LINES:]))
            traceback = [f"{kept[:half]}\n...\n{kept[-half:]}"]
            value = value[:half]
        output = {"output_type": "error", "ename": name, "evalue": value, "traceback": traceback}
        self._add(Shown(output, len(value) + sum(map(len, traceback))))

    def finish(self) -> None:
        """Nothing more will come."""
        if self._spool is not None and self._url is None:
            self._url = self._spool.close()
            self._rest = None

    # -- inside

    def _add(self, item: Shown) -> None:
        self._items.append(item)
        self._shown_bytes += item.size_bytes

    def _before_output(self) -> None:
        if self._clears_next:
            self.clear(wait=False)

    def _inline_bytes(self) -> int:
        return self._shown_bytes + sum(len(item.text) for item in self._items if isinstance(item, Stream))

    def _write_rest(self, text: str) -> None:
        if self._spool is None:
            self._spool = self._make_spool()
            self._url = None
            # The file has all that was printed, so that nobody has to put the two together.
            for item in self._items:
                if isinstance(item, Stream):
                    self._spool.write(item.text.text)
        self._spool.write(text)
        self._tail = (self._tail + text[-TAIL_CHARS:])[-TAIL_CHARS:]
        self._rest = None
