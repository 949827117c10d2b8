"""Our errors as HTTP answers."""

from __future__ import annotations

import pytest
from collabkernel_server.handler import ApiError, api_error

from collabkernel.errors import (
    BadTicketError,
    CollabKernelError,
    DetachedError,
    InvalidRoomNameError,
    RoomNotFoundError,
    ServerStoppingError,
    StorageError,
    TooManyError,
)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidRoomNameError("x"), 400),
        (RoomNotFoundError("x"), 404),
        (BadTicketError("x"), 403),
        (TooManyError("rooms", 3, 5000), 429),
        (StorageError("x"), 503),
        (ServerStoppingError("x"), 503),
        (DetachedError("x"), 500),
    ],
)
def test_status_and_code(error: CollabKernelError, status: int) -> None:
    answer = api_error(error)

    assert (answer.status_code, answer.code, answer.message) == (status, error.code, error.told)
    assert answer.retry_after_ms == error.retry_after_ms


def test_percent_signs_are_no_format() -> None:
    assert ApiError(400, "x", "a%20b").get_message() == "a%20b"
