"""Close codes."""

from __future__ import annotations

from collabkernel.server.transport import CLOSE_CODE_OTHER, CLOSE_CODES


def test_every_close_code_is_one_that_a_server_may_send() -> None:
    for code in (*CLOSE_CODES.values(), CLOSE_CODE_OTHER):
        assert code in {1001, 1008, 1012, 1013} or 4000 <= code < 5000
