"""What happens to shared documents, told on Jupyter's event bus (``api/events/subscribe``).

The schemas' ids and members are those that others listen for: jupyter-collaboration's front end, jupyterlab-chat.
"""

from __future__ import annotations

from typing import Any, Literal

from jupyter_events import EventLogger

_ID = "https://schema.jupyter.org/jupyter_collaboration/{}/v1"
SESSION_SCHEMA = _ID.format("session")
AWARENESS_SCHEMA = _ID.format("awareness")
FORK_SCHEMA = _ID.format("fork")

Level = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
Action = Literal["initialize", "load", "save", "overwrite", "clean"]


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


def _schema(schema_id: str, title: str, required: list[str], properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "$id": schema_id,
        "version": "1",
        "title": title,
        "personal-data": True,
        "type": "object",
        "required": required,
        "properties": properties,
    }


_ROOM = "The room: format, type and file id of a document, with colons between; or what a fork is called."
SCHEMAS = (
    _schema(
        SESSION_SCHEMA,
        "What this server does with a shared document",
        ["level", "room", "path"],
        {
            "level": {"enum": ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], "description": "How bad it is."},
            "room": _text(_ROOM),
            "path": _text("The document's file; empty when none is known."),
            "store": _text("Where its history is kept."),
            "action": {
                "enum": ["initialize", "load", "save", "overwrite", "clean"],
                "description": "A client came; the file was read; it was written; a change of it on disk was taken"
                " over; the document left this server's memory.",
            },
            "msg": _text("More, for people."),
        },
    ),
    _schema(
        AWARENESS_SCHEMA,
        "Who comes to a shared document, and who leaves",
        ["roomid", "username", "action"],
        {
            "roomid": _text(_ROOM),
            "username": _text("Who."),
            "action": {"enum": ["join", "leave"], "description": "Which of the two."},
            "msg": _text("More, for people."),
        },
    ),
    _schema(
        FORK_SCHEMA,
        "Forks of shared documents",
        ["fork_roomid", "fork_info", "username", "action"],
        {
            "fork_roomid": _text("The fork."),
            "fork_info": {
                "type": "object",
                "description": "What it is a fork of, and for.",
                "required": ["root_roomid", "synchronize", "title", "description"],
                "properties": {
                    "root_roomid": _text("The document that it came from."),
                    "synchronize": {"type": "boolean", "description": "Whether it goes on following that document."},
                    "title": _text("Its title."),
                    "description": _text("What it is for."),
                },
            },
            "username": _text("Who made or ended it."),
            "action": {"enum": ["create", "delete"], "description": "Which of the two."},
        },
    ),
)


class DocumentEvents:
    """Emits them; a schema that somebody else has registered is his."""

    def __init__(self, logger: EventLogger) -> None:
        self._logger = logger
        for schema in SCHEMAS:
            if schema["$id"] not in logger.schemas:
                logger.register_event_schema(schema)

    def session(self, room: str, path: str, action: Action | None = None, msg: str = "", level: Level = "INFO") -> None:
        """Something was done with a document."""
        data = {"level": level, "room": room, "path": path}
        if action is not None:
            data["action"] = action
        if msg:
            data["msg"] = msg
        self._logger.emit(schema_id=SESSION_SCHEMA, data=data)

    def awareness(self, room: str, username: str, action: Literal["join", "leave"]) -> None:
        """Somebody came or left."""
        self._logger.emit(schema_id=AWARENESS_SCHEMA, data={"roomid": room, "username": username, "action": action})

    def fork(self, fork_id: str, info: dict[str, Any], username: str, action: Literal["create", "delete"]) -> None:
        """A fork was made or ended."""
        data = {"fork_roomid": fork_id, "fork_info": info, "username": username, "action": action}
        self._logger.emit(schema_id=FORK_SCHEMA, data=data)
