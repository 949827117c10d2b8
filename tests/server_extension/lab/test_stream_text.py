"""What a terminal shows of a text with carriage returns and backspaces."""

from __future__ import annotations

import pytest
from collabkernel_server.lab.stream_text import StreamText
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.core


def naive(text: str) -> str:
    """One character at a time."""
    lines: list[list[str]] = [[]]
    column = 0
    for char in text.replace("\r\n", "\n"):
        line = lines[-1]
        if char == "\n":
            lines.append([])
            column = 0
        elif char == "\r":
            column = 0
        elif char == "\b":
            if column:
                column -= 1
                del line[column]
        else:
            line[column : column + 1] = [char]
            column += 1
    return "\n".join("".join(line) for line in lines)


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("plain\ntext", "plain\ntext"),
        ("10%\r20%\r100%", "100%"),
        ("a long line\rshort", "shortg line"),
        ("done\r", "done"),
        ("windows\r\nlines\r\n", "windows\nlines\n"),
        ("abc\b\bX", "aX"),
        ("above\n\b\bstays", "above\nstays"),
        ("", ""),
    ],
)
def test_control_characters_move_on_the_last_line(printed: str, shown: str) -> None:
    assert StreamText(printed).text == shown
    assert naive(printed) == shown


@given(st.lists(st.text("ab\n\r\b", max_size=12), max_size=8))
def test_text_in_pieces_is_shown_as_in_one(pieces: list[str]) -> None:
    stream = StreamText()
    for piece in pieces:
        stream.write(piece)

    assert stream.text == naive("".join(pieces))
    assert len(stream) == len(stream.text)
