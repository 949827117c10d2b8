"""A document's WebSocket on a real server: who gets in, who may write, and what bad frames do."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from pycrdt import create_sync_message
from websockets.exceptions import InvalidStatus

from tests.server_extension.lab.yjs_member import AWARENESS, RAW, STEP_2, SYNC, YMember, new_file, put_session
from tests.server_extension.running_server import RunningServer

GLOBAL = "JupyterLab:globalAwareness"
EVIL = "https://evil.example"


@pytest.fixture
def room(server: RunningServer, request: pytest.FixtureRequest) -> str:
    """The room of a file of this test alone."""
    return new_file(server, f"{request.node.name.partition('[')[0]}.txt")


@pytest.fixture(scope="module")
def strict(start_server: Callable[..., RunningServer]) -> RunningServer:
    """A server of small frames, and few of them."""
    return start_server("--CollabKernelServer.document_frame_bytes=20000", "--CollabKernelServer.frames_per_s=20")


def refusal(server: RunningServer, room: str, person: str | None = "ann", **options: object) -> int:
    """The status of an upgrade that must be refused."""
    with pytest.raises(InvalidStatus) as refused:
        YMember(server, room, person, **options)
    return refused.value.response.status_code


def awareness(client: int, clock: int, state: object) -> bytes:
    """One client's awareness, below 128 bytes each part."""
    text = json.dumps(state).encode()
    entry = bytes((1, client, clock, len(text))) + text
    return bytes((AWARENESS, len(entry))) + entry


def states_in(frame: bytes) -> str:
    return frame.decode(errors="replace") if frame[0] == AWARENESS else ""


def test_page_gets_the_file(server: RunningServer, room: str) -> None:
    with YMember(server, room) as ann:
        assert ann.sync().text == "plan"


def test_session_id_is_never_looked_at(server: RunningServer, room: str) -> None:
    for query in ("", "?sessionId=", "?sessionId=of-another-server"):
        with YMember(server, room + query) as ann:
            assert ann.sync().text == "plan"


def test_what_one_types_the_other_sees(server: RunningServer, room: str) -> None:
    with YMember(server, room).sync() as ann, YMember(server, room, "bob").sync() as bob:
        ann.edit(" B")
        bob.receive(lambda _: bob.text == "plan B")
        bob.edit("!")
        ann.receive(lambda _: ann.text == "plan B!")


def test_author_sees_his_own_edit_when_it_is_stored(server: RunningServer, room: str) -> None:
    with YMember(server, room).sync() as ann:
        ann.edit(" B")
        ann.receive(lambda frame: frame[0] == SYNC and b" B" in frame)


def test_nobody_and_strangers_are_refused(server: RunningServer, room: str) -> None:
    for address in (room, GLOBAL, "text:file:none", "nonsense"):
        assert refusal(server, address, None) == 403
        assert refusal(server, address, "stranger") == 403


@pytest.mark.parametrize("origin", [EVIL, "null"])
def test_foreign_origin_is_refused(server: RunningServer, room: str, origin: str) -> None:
    assert refusal(server, room, origin=origin) == 403
    assert refusal(server, GLOBAL, origin=origin) == 403


def test_own_origin_is_allowed(server: RunningServer, room: str) -> None:
    YMember(server, room, origin=server.origin).socket.close()


def test_room_without_a_file_is_not_found(server: RunningServer, room: str) -> None:
    assert refusal(server, "text:file:none") == 404
    assert refusal(server, "0" * 32) == 404
    with YMember(server, room).sync() as ann:
        ann.edit(" goes on")
        ann.receive(lambda frame: b" goes on" in frame)


@pytest.mark.parametrize("name", ["nonsense", "a:b", "text:file", "text:file:a%20b", "text:file:a%2Fb", "xml:file:x"])
def test_name_of_no_document_is_a_bad_request(server: RunningServer, name: str) -> None:
    assert refusal(server, name) == 400


def test_reader_reads_is_seen_and_does_not_write(server: RunningServer, room: str) -> None:
    with YMember(server, room).sync() as ann, YMember(server, room, "reader").sync() as reader:
        assert reader.text == "plan"
        reader.edit(" spoiled")
        reader.socket.send(create_sync_message(reader.doc))
        reader.receive(lambda frame: frame[:2] == bytes((SYNC, STEP_2)))
        reader.socket.send(awareness(7, 1, {"cursors": []}))
        assert "reader" in states_in(ann.receive(lambda frame: "cursors" in states_in(frame)))
        ann.edit(" B")
        ann.receive(lambda frame: b" B" in frame)
    with YMember(server, room, "bob") as bob:
        bob.sync()
        if bob.text == "plan":  # a first answer may be a little old, with the rest right behind it
            bob.receive(lambda _: bob.text != "plan")
        assert bob.text == "plan B"


def test_reader_who_types_is_told_once_in_the_words_of_jupyterlab(server: RunningServer, room: str) -> None:
    def typed(text: str) -> YMember:
        reader = YMember(server, room, "reader", client_id=7).sync()
        reader.socket.send(awareness(7, 1, {"cursors": []}))
        reader.edit(text)
        return reader

    with typed(" spoiled") as reader:
        assert reader.close_code() == 1003
        closed = reader.socket.protocol.close_rcvd
        assert closed is not None
        told = json.loads(closed.reason)
        assert told["reloadable"] is True
        assert "read" in told["errorReason"]
    with typed(" spoiled more") as again:
        again.sync()


def test_reader_cannot_save(server: RunningServer, room: str) -> None:
    with YMember(server, room, "reader").sync() as reader:
        assert reader.save(3) == {"type": "save", "responseTo": 3, "status": "failed"}


def test_save_writes_the_file(server: RunningServer, room: str) -> None:
    with YMember(server, room).sync() as ann:
        ann.edit(" B")
        assert ann.save(5) == {"type": "save", "responseTo": 5, "status": "success"}
    assert (server.folder / "test_save_writes_the_file.txt").read_text() == "plan B"


def test_name_in_awareness_is_the_logins(server: RunningServer, room: str) -> None:
    with YMember(server, room).sync() as ann:
        ann.socket.send(awareness(9, 1, {"user": {"name": "Bob", "username": "bob"}}))
        frame = states_in(ann.receive(lambda frame: "user" in states_in(frame)))
        assert '"ann"' in frame
        assert "bob" not in frame.lower()


def test_newcomer_sees_who_is_there_and_who_leaves(server: RunningServer, room: str) -> None:
    with YMember(server, room, "bob") as bob:
        with YMember(server, room) as ann:
            ann.socket.send(awareness(9, 1, {"cursors": "here"}))
            bob.receive(lambda frame: "here" in states_in(frame))
            with YMember(server, room, "carl") as carl:
                carl.receive(lambda frame: "here" in states_in(frame))
        bob.receive(lambda frame: "null" in states_in(frame))


def test_who_is_on_this_server_is_a_room_without_a_document(server: RunningServer) -> None:
    with YMember(server, GLOBAL) as ann, YMember(server, GLOBAL, "bob") as bob:
        bob.socket.send(awareness(9, 1, {"current": "notebook:plan.ipynb"}))
        ann.receive(lambda frame: "plan.ipynb" in states_in(frame))


@pytest.mark.parametrize(
    "frame",
    [
        "a text frame",
        b"",
        b"\x7d",
        b"\x00",
        b"\x00\x07\x00",
        b"\x00\x02\x05ab",
        b"\x01\x09garbage!!",
        b"\x01" + bytes((5, 1, 9, 1, 2)) + b"{]",
        b"\xff" * 12,
        b"\x02",
        b"\x02\x04save",
        b"\x02\x04load\x01",
        b"\x02\x04save\x01\x01",
        b"\x02\xff\xff\xff\xff\x0fx",
    ],
)
def test_malformed_frame_closes_that_socket_alone(server: RunningServer, room: str, frame: str | bytes) -> None:
    with YMember(server, room, "bob").sync() as bob:
        with YMember(server, room).sync() as ann:
            ann.socket.send(frame)
            assert ann.close_code() in (1007, 1008)
        assert bob.sync().text == "plan"
    assert "malformed" in server.log


def test_frame_over_the_limit_closes_the_socket(strict: RunningServer) -> None:
    with YMember(strict, new_file(strict, "large.txt")).sync() as ann:
        ann.socket.send(b"\0\2" + b"x" * 20_001)
        assert ann.close_code() == 1009


def test_reader_s_frames_are_small(server: RunningServer, room: str) -> None:
    with YMember(server, room, "reader").sync() as reader:
        # The head of a masked binary frame (RFC 6455, 5.2): of what follows, a server that has closed takes no more.
        reader.socket.socket.sendall(b"\x82\xff" + (2 << 20).to_bytes(8) + bytes(4))
        assert reader.close_code() == 1009


def test_saves_are_frames_like_all_others(strict: RunningServer) -> None:
    """Each was answered at once, whether its sender took the answers or not."""
    with YMember(strict, new_file(strict, "flood.txt"), "reader").sync() as reader:
        began_s = time.monotonic()
        for number in range(30):
            reader.socket.send(bytes((RAW, 4)) + b"save" + bytes((number,)))
        reader.receive(lambda frame: frame[0] == RAW and b'"responseTo": 29' in frame)
        assert time.monotonic() - began_s > 0.5


def test_reader_begins_no_document_of_a_made_up_type(server: RunningServer, room: str) -> None:
    made_up = room.replace(":file:", ":made-up:")
    assert refusal(server, made_up, "reader") == 404
    with YMember(server, made_up) as ann:
        assert ann.sync().text == "plan"
    with YMember(server, made_up, "reader") as reader:
        assert reader.sync().text == "plan"


def test_file_that_cannot_be_read_is_told_by_the_code_that_jupyterlab_shows(server: RunningServer) -> None:
    (server.folder / "binary.txt").write_bytes(b"\xff\xfe\x00\x01")
    answer = put_session(server, "binary.txt").json
    with YMember(server, f"text:file:{answer['fileId']}") as ann:
        assert ann.close_code() in (4400, 4500)


def test_stop_with_pages_open_takes_less_than_two_seconds(start_server: Callable[..., RunningServer]) -> None:
    server = start_server()
    rooms = [new_file(server, f"stop-{number}.txt") for number in range(3)]
    members = [YMember(server, room).sync() for room in rooms for _ in range(4)]
    members += [YMember(server, GLOBAL) for _ in range(2)]
    members[0].edit(" B")
    members[0].receive(lambda frame: b" B" in frame)
    took_s = server.stop()

    print(f"SIGTERM to exit with {len(members)} pages: {took_s:.2f} s")
    assert took_s < server.stop_s_max, server.log[-3000:]
    assert {member.close_code() for member in members} <= {1001, 1012}
    assert (server.folder / "stop-0.txt").read_text() == "plan B"
