"""Names of rooms."""

from __future__ import annotations

import re

from collabkernel.errors import InvalidRoomNameError

_NAME = re.compile(r"[A-Za-z0-9_~][A-Za-z0-9._~-]{0,127}")


def check_room_name(room_id: str) -> None:
    """Check that a room may have this name: 1 to 128 of the signs that a URL keeps as they are, no dot or dash first.

    Raises:
        InvalidRoomNameError: It may not.
    """
    if _NAME.fullmatch(room_id) is None:
        raise InvalidRoomNameError(
            f"{room_id[:140]!r} is no room name: use 1 to 128 letters, digits, '.', '_', '~' or '-', "
            "and begin with a letter, a digit, '_' or '~'"
        )
