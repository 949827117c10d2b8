"""Names of rooms."""

from __future__ import annotations

import pytest

from collabkernel.errors import InvalidRoomNameError
from collabkernel.room.names import check_room_name

pytestmark = pytest.mark.core


@pytest.mark.parametrize("name", ["a", "planning", "team-1.board~x_y", "0" * 128])
def test_plain_names_are_taken(name: str) -> None:
    check_room_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "-x", "a/b", "a b", "a\n", "é", "0" * 129, "a%2Fb"])
def test_what_urls_or_paths_would_have_to_escape_is_refused(name: str) -> None:
    with pytest.raises(InvalidRoomNameError) as caught:
        check_room_name(name)
    assert caught.value.code == "invalid-room-name"
