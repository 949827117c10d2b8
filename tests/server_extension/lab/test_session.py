"""The session endpoint on a real server: ids for files, for those who may read them."""

from __future__ import annotations

import pytest

from tests.server_extension.lab.yjs_member import put_session
from tests.server_extension.running_server import RunningServer, xsrf_headers

BODY = {"format": "text", "type": "file"}


@pytest.fixture
def file(server: RunningServer, request: pytest.FixtureRequest) -> str:
    """A file of this test alone."""
    name = f"{request.node.name.partition('[')[0]}.txt"
    (server.folder / name).write_text("plan")
    return name


def test_first_one_makes_an_id_and_later_ones_get_it(server: RunningServer, file: str) -> None:
    first, second = put_session(server, file), put_session(server, file, person="bob")

    assert (first.status, second.status) == (201, 200)
    assert first.json == second.json
    assert first.json.keys() == {"format", "type", "fileId", "sessionId"}
    assert (first.json["format"], first.json["type"]) == ("text", "file")


def test_leading_slash_is_no_other_file(server: RunningServer, file: str) -> None:
    assert put_session(server, "%2F" + file).json["fileId"] == put_session(server, file).json["fileId"]


def test_path_is_one_escaped_segment_or_several(server: RunningServer) -> None:
    (server.folder / "some folder").mkdir()
    (server.folder / "some folder" / "a.txt").write_text("plan")
    escaped = put_session(server, "some%20folder%2Fa.txt")

    assert escaped.json["fileId"] == put_session(server, "some%20folder/a.txt").json["fileId"]


def test_missing_file_is_not_found(server: RunningServer) -> None:
    answer = put_session(server, "none.txt")

    assert answer.status == 404
    assert "message" in answer.json


def test_file_outside_of_the_root_is_not_found(server: RunningServer) -> None:
    assert put_session(server, "..%2F..%2Fetc%2Fpasswd").status == 404


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        {},
        {"type": "file"},
        {"format": "text"},
        {"format": "xml", "type": "file"},
        {"format": "text", "type": "fi:le"},
        {"format": "text", "type": 1},
        {"format": "json", "type": "file"},
        {"format": ["text"], "type": "file"},
    ],
)
def test_bad_body_is_a_bad_request(server: RunningServer, file: str, body: object) -> None:
    assert put_session(server, file, body).status == 400


def test_large_body_is_refused(server: RunningServer, file: str) -> None:
    assert put_session(server, file, BODY | {"more": "x" * 20_000}).status == 413


def test_reader_is_answered(server: RunningServer, file: str) -> None:
    assert put_session(server, file, person="reader").status == 201


def test_nobody_and_strangers_are_refused(server: RunningServer, file: str) -> None:
    assert put_session(server, file, person=None).status == 403
    assert put_session(server, file, person="stranger").status == 403


def test_another_sites_form_is_refused(server: RunningServer, file: str) -> None:
    assert server.request("PUT", f"api/collaboration/session/{file}", BODY).status == 403


def test_page_of_another_origin_is_refused(server: RunningServer, file: str) -> None:
    headers = xsrf_headers() | {"Origin": "https://evil.example"}

    assert server.request("PUT", f"api/collaboration/session/{file}", BODY, **headers).status == 404
