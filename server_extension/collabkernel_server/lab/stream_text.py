"""The text of one stream as a terminal shows it: what follows a carriage return overwrites its line."""

from __future__ import annotations


class StreamText:
    """Grows at its end; only the last line can change before that."""

    def __init__(self, text: str = "") -> None:
        self._above = ""
        self._line = ""
        self._column = 0
        self._text: str | None = ""
        self.write(text)

    def __len__(self) -> int:
        return len(self._above) + len(self._line)

    @property
    def text(self) -> str:
        """What is shown."""
        if self._text is None:
            self._text = self._above + self._line
        return self._text

    def write(self, text: str) -> None:
        """Print more; backspaces and carriage returns move on the last line."""
        if not text:
            return
        self._text = None
        if "\r" not in text and "\b" not in text:
            self._write_plain(text)
            return
        lines = text.replace("\r\n", "\n").split("\n")
        above = []
        for line in lines[:-1]:
            self._write_line(line)
            above.append(self._line)
            self._line = ""
            self._column = 0
        self._write_line(lines[-1])
        if above:
            self._above = "\n".join((self._above + above[0], *above[1:], ""))

    def _write_plain(self, text: str) -> None:
        cut = text.rfind("\n") + 1
        first = text[:cut].find("\n") if cut else len(text)
        self._overwrite(text[:first])
        if cut:
            self._above += self._line + text[first:cut]
            self._line = text[cut:]
            self._column = len(self._line)

    def _write_line(self, text: str) -> None:
        if "\b" in text:
            self._write_with_backspaces(text)
            return
        first, *others = text.split("\r")
        self._overwrite(first)
        if others:
            # Later prints lie over earlier ones: from the last one back, each adds only what stands out behind it.
            shown = others[-1]
            for below in (*reversed(others[:-1]), self._line):
                if len(below) > len(shown):
                    shown += below[len(shown) :]
            self._line = shown
            self._column = len(others[-1])

    def _write_with_backspaces(self, text: str) -> None:
        for char in text:
            if char == "\b":
                if self._column:
                    self._line = self._line[: self._column - 1] + self._line[self._column :]
                    self._column -= 1
            elif char == "\r":
                self._column = 0
            else:
                self._overwrite(char)

    def _overwrite(self, text: str) -> None:
        end = self._column + len(text)
        self._line = self._line[: self._column] + text + self._line[end:]
        self._column = end
