"""Every event that is emitted fits its schema, as jupyter_events checks it."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

from collabkernel_server.lab.events import AWARENESS_SCHEMA, FORK_SCHEMA, SESSION_SCHEMA, DocumentEvents
from jupyter_events import EventLogger

ROOM = "json:notebook:1"
INFO = {"root_roomid": ROOM, "synchronize": True, "title": "t", "description": "d"}


class Listener:
    """An event logger, and what it was told."""

    def __init__(self) -> None:
        self.text = io.StringIO()
        self.logger = EventLogger()
        self.logger.register_handler(logging.StreamHandler(self.text))
        self.events = DocumentEvents(self.logger)

    def told(self) -> list[tuple[str, dict[str, Any]]]:
        lines = [json.loads(line) for line in self.text.getvalue().splitlines()]
        return [
            (line["__schema__"], {name: value for name, value in line.items() if not name.startswith("__")})
            for line in lines
        ]


def test_what_is_done_with_a_document_is_told() -> None:
    listener = Listener()
    listener.events.session(ROOM, "plan.ipynb", "save")
    listener.events.session(ROOM, "plan.ipynb", msg="open twice", level="WARNING")

    assert listener.told() == [
        (SESSION_SCHEMA, {"level": "INFO", "room": ROOM, "path": "plan.ipynb", "action": "save"}),
        (SESSION_SCHEMA, {"level": "WARNING", "room": ROOM, "path": "plan.ipynb", "msg": "open twice"}),
    ]


def test_who_comes_and_goes_is_told() -> None:
    listener = Listener()
    listener.events.awareness(ROOM, "ann", "join")

    assert listener.told() == [(AWARENESS_SCHEMA, {"roomid": ROOM, "username": "ann", "action": "join"})]


def test_forks_are_told() -> None:
    listener = Listener()
    listener.events.fork("f" * 32, INFO, "ann", "create")

    told = {"fork_roomid": "f" * 32, "fork_info": INFO, "username": "ann", "action": "create"}
    assert listener.told() == [(FORK_SCHEMA, told)]


def test_schemas_that_are_there_stay() -> None:
    listener = Listener()
    before = listener.logger.schemas.get(SESSION_SCHEMA)
    DocumentEvents(listener.logger)

    assert listener.logger.schemas.get(SESSION_SCHEMA) is before
