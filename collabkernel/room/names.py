"""Names of rooms."""

from __future__ import annotations

import re

from collabkernel.errors import InvalidRoomNameError

_NAME = re.compile(r"[A-Za-z0-9_~][A-Za-z0-9._~-]{0,127}")


def is_room_name(room_id: str) -> bool:
    """Whether a room of live values may have this name; documents have others, in the same log."""
    return _NAME.fullmatch(room_id) is not None


def check_room_name(room_id: str) -> None:
    """Check that a room may have this name: 1 to 128 of the signs that a URL keeps as they are, no dot or dash first.

    Raises:
        InvalidRoomNameError: It may not.
    """
    if not is_room_name(room_id):
        raise InvalidRoomNameError(
            f"{room_id[:140]!r} is no room name: use 1 to 128 letters, digits, '.', '_', '~' or '-', "
            "and begin with a letter, a digit, '_' or '~'"
        )
