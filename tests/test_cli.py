"""The command line against a real Jupyter server: it finds it, shows rooms, and its errors teach."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from collabkernel.cli import main
from tests.server_extension.running_server import RunningServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with one room, whose texts try to talk to the terminal."""
    server = RunningServer(tmp_path_factory.mktemp("cli"), "--CollabKernelServer.db_url=memory://")
    with server.join("planning") as ann:
        for key, value in {"title": "Plan\x1b[31m red [bold]", "long": "x" * 1000, "size": 3}.items():
            ann.put(key, value)
            ann.receive(lambda message: message.acks)
        yield server
    server.stop()


@pytest.fixture
def environment(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """As in a terminal of whoever runs the server."""
    for name in ("COLLABKERNEL_URL", "COLLABKERNEL_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(server.runtime_dir))
    monkeypatch.setenv("COLUMNS", "160")
    return monkeypatch


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


@pytest.mark.usefixtures("environment")
def test_rooms_of_the_running_server_are_listed() -> None:
    result = run("rooms")

    assert result.exit_code == 0, result.output
    assert "planning" in result.output
    assert "3" in result.output


@pytest.mark.usefixtures("environment")
def test_rooms_as_json() -> None:
    (room,) = json.loads(run("rooms", "--json").stdout)

    assert (room["room"], room["seq"], room["sessions"]) == ("planning", 3, 1)


@pytest.mark.usefixtures("environment")
def test_show_draws_a_tree_that_cannot_talk_to_the_terminal() -> None:
    output = run("show", "planning").output

    assert "after 3 operations" in output
    assert "● Ann (script)" in output
    assert r'title: "Plan\u001b[31m red [bold]"' in output
    assert "x" * 150 in output
    assert "(1,002 characters)" in output
    assert "\x1b" not in output


@pytest.mark.usefixtures("environment")
def test_export_writes_json_to_a_file_or_stdout(tmp_path: Path) -> None:
    file = tmp_path / "planning.json"
    result = run("export", "planning", "-o", str(file))

    assert result.exit_code == 0, result.output
    exported = json.loads(file.read_text())
    assert (exported["room"], exported["seq"], exported["state"]["size"]) == ("planning", 3, 3)
    assert list(tmp_path.iterdir()) == [file]
    assert json.loads(run("export", "planning").stdout) == exported


@pytest.mark.usefixtures("environment")
def test_export_to_nowhere_says_so(tmp_path: Path) -> None:
    result = run("export", "planning", "-o", str(tmp_path / "none" / "x.json"))

    assert result.exit_code != 0
    assert "cannot write" in result.output


@pytest.mark.usefixtures("environment")
def test_unknown_room_points_at_the_list() -> None:
    result = run("show", "nope")

    assert result.exit_code == 1
    assert "there is no room 'nope'. `collabkernel rooms` lists" in result.output


def test_url_finds_its_token_in_the_runtime_files(server: RunningServer, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("COLLABKERNEL_URL", server.base_url + "lab/tree/notebooks/a.ipynb")

    assert run("rooms").exit_code == 0


def test_of_several_urls_the_first_that_answers_is_asked(
    server: RunningServer, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("COLLABKERNEL_URL", f"http://127.0.0.1:9/, {server.base_url}")
    assert "planning" in run("rooms").output

    environment.setenv("COLLABKERNEL_URL", "http://127.0.0.1:9/,http://127.0.0.1:10/")
    output = run("rooms").output
    assert "127.0.0.1:9/ does not answer" in output
    assert "127.0.0.1:10/ does not answer" in output


def test_url_of_a_browser_with_its_token_is_enough(server: RunningServer, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("JUPYTER_RUNTIME_DIR", "/nonexistent")

    assert run("rooms", "--url", f"{server.base_url}?token={server.token}").exit_code == 0


def test_missing_and_wrong_tokens_are_told_apart(server: RunningServer, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("JUPYTER_RUNTIME_DIR", "/nonexistent")

    assert "it wants a token" in run("rooms", "--url", server.base_url).output
    environment.setenv("COLLABKERNEL_TOKEN", "wrong-secret")
    result = run("rooms", "--url", server.base_url)
    assert "the token does not open it" in result.output
    assert "wrong-secret" not in result.output


def test_wrong_base_is_told(server: RunningServer, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("COLLABKERNEL_TOKEN", server.token)

    assert "has no collabkernel" in run("rooms", "--url", server.origin).output


def test_no_server_says_how_to_get_one(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("JUPYTER_RUNTIME_DIR", "/nonexistent")
    result = run("rooms")

    assert result.exit_code == 1
    assert "`jupyter lab`" in result.output
    assert "--url" in result.output


def test_dead_server_is_told(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("JUPYTER_RUNTIME_DIR", "/nonexistent")

    assert "does not answer" in run("rooms", "--url", "http://127.0.0.1:9/").output


@pytest.mark.parametrize("url", ["localhost:8888", "ftp://x/", "http://"])
def test_url_that_is_none_is_told(url: str, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("JUPYTER_RUNTIME_DIR", "/nonexistent")

    assert "http://localhost:8888/" in run("rooms", "--url", url).output


def test_drain_waits_until_nobody_is_left(tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
    server = RunningServer(tmp_path, "--CollabKernelServer.db_url=memory://")
    try:
        environment.setenv("COLLABKERNEL_TOKEN", server.token)
        with server.join("planning"):
            result = run("drain", "--url", server.base_url, "--seconds", "0.5")
        assert result.exit_code == 0, result.output
        assert "1 sessions are left" in result.output
        assert "is drained" in result.output
        assert server.request("GET", "collabkernel/api/info").json["sessions"] == 0
    finally:
        server.process.kill()
        server.process.wait(10)


def test_drain_wants_one_server() -> None:
    assert "the one server" in run("drain", "--url", "http://a:1/,http://b:1/").output


@pytest.mark.parametrize("command", [[], ["rooms"], ["show"], ["export"], ["drain"], ["demo"]])
def test_help_teaches_by_examples(command: list[str]) -> None:
    result = run(*command, "--help")

    assert result.exit_code == 0
    assert "Examples:" in result.output
    assert "collabkernel " + (command[0] if command else "demo") in result.output


def test_version_is_told() -> None:
    assert "0.1.0" in run("--version").output
