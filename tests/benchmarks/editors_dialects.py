"""How a client of each system says the same: I am here, I type this, my cursor is there; and what it is answered.

An edit of the Yjs systems is an insert of a mark behind the client's own last one. tldraw's rooms hold records: there
an edit puts a record that has the mark in it, the smallest that its schema knows.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from typing import Any, ClassVar

from tests.benchmarks.editors_lines import BINARY, TEXT
from tests.benchmarks.editors_tally import mark, marks_in
from tests.peers import y_protocol as y
from tests.peers.node_servers import HOCUSPOCUS, LIVEBLOCKS, TLDRAW
from tests.peers.servers import OURS

CLIENT_ID = 1_000_000
"""The Yjs client id of client 0; the others follow."""
COLOR = "#aabbcc"
RECORDS_A_PUSH = 64
_UPDATE = re.compile(rb'"update":"([^"]*)"')


class YDialect:
    """The y-protocol as JupyterLab and y-websocket speak it. Its protocol has no acknowledgement."""

    opcode: ClassVar[int] = BINARY
    ack: ClassVar[str] = ""
    """What acknowledges an edit to its author, in words; empty when nothing does."""

    def __init__(self, clients: int) -> None:
        self._clock = [0] * clients
        self._awareness_clock = [0] * clients

    def hello(self, client: int) -> list[bytes]:
        """What a client says first."""
        del client
        return [self._wrapped(y.sync_frame(y.STEP1, b"\0"))]

    def edit(self, client: int, number: int) -> bytes:
        """Type the mark of this number."""
        text, clock = mark(number), self._clock[client]
        self._clock[client] = clock + len(text)
        return self._wrapped(y.sync_frame(y.UPDATE, self._append(client, clock, text)))

    def cursor(self, client: int, number: int) -> bytes:
        """Move one's cursor."""
        self._awareness_clock[client] += 1
        state = {
            "user": {"name": f"client {client}", "color": COLOR},
            "cursor": {"anchor": number, "head": mark(number)},
        }
        return self._wrapped(y.awareness_frame(CLIENT_ID + client, self._awareness_clock[client], state))

    def large(self, update: bytes) -> list[bytes]:
        """Bring a document that somebody made elsewhere."""
        return [self._wrapped(y.sync_frame(y.UPDATE, update))]

    def is_state(self, head: bytes) -> bool:
        """Whether a frame that begins like this brings the document to who has just come."""
        return self._unwrapped(head)[:2] == bytes((y.SYNC, y.STEP2))

    def answer(self, frame: bytes) -> bytes | None:
        """What a frame must be answered with."""
        inner = self._unwrapped(frame)
        is_question = len(inner) > 1 and inner[0] == y.SYNC and inner[1] == y.STEP1
        return self._wrapped(y.sync_frame(y.STEP2, y.EMPTY_UPDATE)) if is_question else None

    def acked(self, client: int, frame: bytes) -> Sequence[int]:
        """The client's edits that a frame acknowledges."""
        del client, frame
        return ()

    def marks(self, frame: bytes) -> Sequence[int]:
        """The edits and cursors that a frame shows."""
        return marks_in(frame)

    def _append(self, client: int, clock: int, text: str) -> bytes:
        return y.append_update(CLIENT_ID + client, clock, text)

    def _wrapped(self, frame: bytes) -> bytes:
        return frame

    def _unwrapped(self, frame: bytes) -> bytes:
        return frame


class OurDialect(YDialect):
    """Ours: the y-protocol, and an update comes back to its author when it is stored."""

    ack = "the update comes back to its author"

    def acked(self, client: int, frame: bytes) -> Sequence[int]:
        """All marks; only the author's own are asked about."""
        del client
        return marks_in(frame) if frame[0] == y.SYNC else ()


class HocuspocusDialect(YDialect):
    """The y-protocol behind the document's name, after a token; each update is answered with a SyncStatus."""

    ack = "SyncStatus"
    _NAME: ClassVar[bytes] = y.varbytes(b"shared")
    _STATUS: ClassVar[bytes] = _NAME + bytes((8, 1))

    def __init__(self, clients: int) -> None:
        super().__init__(clients)
        self._unanswered: list[list[int]] = [[] for _ in range(clients)]

    def hello(self, client: int) -> list[bytes]:
        """A token, of which nothing is asked, then the step 1."""
        return [self._NAME + bytes((2, 0)) + y.varbytes(b"token"), *super().hello(client)]

    def edit(self, client: int, number: int) -> bytes:
        """Type the mark of this number."""
        self._unanswered[client].append(number)
        return super().edit(client, number)

    def answer(self, frame: bytes) -> bytes | None:
        """Its question comes as a reply (4), which is answered like one."""
        inner = self._unwrapped(frame)
        if len(inner) > 1 and inner[0] in (y.SYNC, 4) and inner[1] == y.STEP1:
            return self._wrapped(y.sync_frame(y.STEP2, y.EMPTY_UPDATE))
        return None

    def acked(self, client: int, frame: bytes) -> Sequence[int]:
        """The oldest that was not answered; the answer to our empty step 2 comes before the first."""
        waiting = self._unanswered[client]
        return [waiting.pop(0)] if frame == self._STATUS and waiting else ()

    def _wrapped(self, frame: bytes) -> bytes:
        return self._NAME + frame

    def _unwrapped(self, frame: bytes) -> bytes:
        return frame[len(self._NAME) :]


class LiveblocksDialect(YDialect):
    """JSON with Yjs updates in base 64; an update comes back to its author."""

    opcode = TEXT
    ack = "the update comes back to its author"

    def hello(self, client: int) -> list[bytes]:
        """An empty presence, and the question for the document."""
        del client
        return [_json([{"type": 100, "targetActor": -1, "data": {}}, {"type": 300, "vector": ""}])]

    def edit(self, client: int, number: int) -> bytes:
        """Type the mark of this number."""
        text, clock = mark(number), self._clock[client]
        self._clock[client] = clock + len(text)
        return self.large(self._append(client, clock, text))[0]

    def cursor(self, client: int, number: int) -> bytes:
        """Move one's cursor; the server knows whose it is."""
        del client
        return _json([{"type": 100, "data": {"cursor": {"x": number, "y": mark(number)}}}])

    def large(self, update: bytes) -> list[bytes]:
        """Bring a document that somebody made elsewhere."""
        return [_json([{"type": 301, "update": base64.b64encode(update).decode()}])]

    def is_state(self, head: bytes) -> bool:
        """Its answer is an update too, and the first that comes."""
        return b'"type":300' in head

    def answer(self, frame: bytes) -> bytes | None:
        """Nothing is asked."""
        del frame

    def acked(self, client: int, frame: bytes) -> Sequence[int]:
        """All marks of updates; only the author's own are asked about."""
        del client
        return [number for update in _UPDATE.findall(frame) for number in marks_in(base64.b64decode(update))]

    def marks(self, frame: bytes) -> Sequence[int]:
        """Those in updates, and those of cursors."""
        return [*marks_in(frame), *self.acked(0, frame)]


class TldrawDialect(YDialect):
    """tldraw's own: pushes of records, each answered with a push_result; cursors are records too."""

    opcode = TEXT
    ack = "push_result"

    def __init__(self, clients: int, schema: Any) -> None:
        super().__init__(clients)
        self._schema = schema
        self._pushed: list[dict[int, int]] = [{} for _ in range(clients)]
        """By client: the edit of each push."""

    def hello(self, client: int) -> list[bytes]:
        """Connect with the server's own schema."""
        asked = {"connectRequestId": f"client-{client}", "lastServerClock": -1, "protocolVersion": 8}
        return [_json({"type": "connect", **asked, "schema": self._schema})]

    def edit(self, client: int, number: int) -> bytes:
        """Put a record with the mark of this number."""
        clock = self._next(client)
        self._pushed[client][clock] = number
        return self._push(clock, diff=dict([_record(f"shape:c{client}n{number}", mark(number))]))

    def cursor(self, client: int, number: int) -> bytes:
        """Move one's cursor; the first time with all that is told of a person."""
        clock = self._next(client)
        if clock == 1:
            presence: list[Any] = ["put", _presence(client, mark(number))]
        else:
            presence = ["patch", {"cursor": ["patch", {"x": ["put", number]}], "chatMessage": ["put", mark(number)]}]
        return self._push(clock, presence=presence)

    def large(self, update: bytes) -> list[bytes]:
        """Texts, one a record, in pushes of some."""
        texts = json.loads(update)
        records = [_record(f"shape:large{number}", text) for number, text in enumerate(texts)]
        starts = range(0, len(records), RECORDS_A_PUSH)
        return [self._push(self._next(0), diff=dict(records[at : at + RECORDS_A_PUSH])) for at in starts]

    def is_state(self, head: bytes) -> bool:
        """The answer to a connect has all records."""
        return b'"type":"connect"' in head

    def answer(self, frame: bytes) -> bytes | None:
        """Nothing is asked."""
        del frame

    def acked(self, client: int, frame: bytes) -> Sequence[int]:
        """Those of the pushes that were committed."""
        if b"push_result" not in frame:
            return ()
        message = json.loads(frame)
        parts = message["data"] if message["type"] == "data" else [message]
        clocks = [part["clientClock"] for part in parts if part.get("action") == "commit"]
        return [self._pushed[client].pop(clock) for clock in clocks if clock in self._pushed[client]]

    def _next(self, client: int) -> int:
        self._clock[client] += 1
        return self._clock[client]

    def _push(self, clock: int, **what: Any) -> bytes:
        return _json({"type": "push", "clientClock": clock, **what})


def dialect(system: str, clients: int, schema: Any = None) -> YDialect:
    """What clients of a system speak."""
    if system == TLDRAW:
        return TldrawDialect(clients, schema)
    own = {OURS: OurDialect, HOCUSPOCUS: HocuspocusDialect, LIVEBLOCKS: LiveblocksDialect}
    return own.get(system, YDialect)(clients)


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _record(record_id: str, text: str) -> tuple[str, list[Any]]:
    """A shape without a form of its own."""
    place = {"x": 0, "y": 0, "rotation": 0, "index": "a1", "parentId": "page:page", "isLocked": False, "opacity": 1}
    shape = {"id": record_id, "typeName": "shape", "type": "group", **place, "props": {}, "meta": {"text": text}}
    return record_id, ["put", shape]


def _presence(client: int, message: str) -> dict[str, Any]:
    return {
        "typeName": "instance_presence",
        "userId": f"user:client{client}",
        "userName": f"client {client}",
        "color": COLOR,
        "cursor": {"x": 0, "y": 0, "type": "default", "rotation": 0},
        "currentPageId": "page:page",
        "chatMessage": message,
        "lastActivityTimestamp": None,
        "followingUserId": None,
        "camera": None,
        "screenBounds": None,
        "selectedShapeIds": [],
        "brush": None,
        "scribbles": [],
        "meta": {},
    }
