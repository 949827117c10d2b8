"""Line endings: a shared text has LF alone, its file keeps the ones it had. Pure.

Editors count a line break as one character, whatever it is on disk; a CR in a shared text would shift every position
behind it. So it is taken out on reading and put back on writing: a line keeps the ending that it had in the file, and a
new one gets the file's most frequent.
"""

from __future__ import annotations

import re
from collections import Counter

from collabkernel_server.lab.diff import changes

_ENDING = re.compile(r"\r\n|\r|\n")


def to_lf(text: str) -> str:
    """The text with LF at the end of each line."""
    return text if "\r" not in text else _ENDING.sub("\n", text)


def restored(text: str, file_text: str) -> str:
    """A text with LF alone, with the line endings that it has in its file."""
    if "\r" not in file_text:
        return text
    endings = _ENDING.findall(file_text)
    ((usual, count), *_) = Counter(endings).most_common(1)
    if count == len(endings):
        return text.replace("\n", str(usual))
    return _line_by_line(text, file_text, endings, str(usual))


def _line_by_line(text: str, file_text: str, endings: list[str], usual: str) -> str:
    lines, old_lines = text.split("\n"), _ENDING.split(file_text)
    kept: dict[int, str] = {}
    at = other_at = 0
    for start, end, other_start, other_end in [*changes(old_lines, lines), (len(old_lines), 0, len(lines), 0)]:
        for offset in range(start - at):
            if at + offset < len(endings):
                kept[other_at + offset] = endings[at + offset]
        if end - start == other_end - other_start:  # changed line by line
            for offset in range(end - start):
                if start + offset < len(endings):
                    kept[other_start + offset] = endings[start + offset]
        at, other_at = end, other_end
    parts: list[str] = []
    for index, line in enumerate(lines[:-1]):
        ending = kept.get(index, usual)
        if ending == "\n" and not line and parts and parts[-1].endswith("\r"):
            ending = "\r\n"  # together with the CR before it, a LF would be one ending
        parts.append(line + ending)
    return "".join([*parts, lines[-1]])
