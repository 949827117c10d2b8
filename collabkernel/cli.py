"""The command line: a demonstration, and a look into the rooms of a running server."""

from __future__ import annotations

import json
import os
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

import collabkernel

SERVERS_GROUP = "collabkernel.servers"
"""Entry points that list running servers as (base URL, token) pairs; ``collabkernel_server`` provides Jupyter's."""
COMMANDS_GROUP = "collabkernel.commands"
"""Entry points of commands that other packages of the distribution bring; ``collabkernel_server`` has ``lab``."""
TIMEOUT_S = 10.0
DRAIN_LOOK_S = 0.5
"""Between two looks at how many sessions are left."""
DEGRADED = (
    "The server's database does not answer, and these are the rooms in its memory. Edits wait at their authors and are "
    "stored when it is back; see the server's log."
)
SHOWN_CHARS = 200
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True)
class Server:
    """A running server, and the token that opens it."""

    url: str
    token: str

    def get(self, path: str) -> Any:
        """The JSON at a path below ``collabkernel/api/``.

        Raises:
            ServerError: If it is refused or the server is not there.
        """
        return self._ask(path, None)

    def post(self, path: str, body: object) -> Any:
        """The JSON answer to a POST of JSON there.

        Raises:
            ServerError: If it is refused or the server is not there.
        """
        return self._ask(path, json.dumps(body).encode())

    def _ask(self, path: str, data: bytes | None) -> Any:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + "collabkernel/api/" + path, data, headers)
        if self.token:
            # Unredirected, so that the token goes to this server alone.
            request.add_unredirected_header("Authorization", f"token {self.token}")
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise _refusal(self, error) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise ServerError(f"{self.url} does not answer as a server should: {reason}") from None


class ServerError(click.ClickException):
    """What went wrong with a server, and what to do about it."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


def _refusal(server: Server, error: urllib.error.HTTPError) -> ServerError:
    try:
        body = json.load(error)
    except ValueError:
        body = {}
    code = body.get("code", "") if isinstance(body, dict) else ""
    message = body.get("message", error.reason) if isinstance(body, dict) else error.reason
    if code == "room-not-found":
        return ServerError(f"{message}. `collabkernel rooms` lists those that exist.", code)
    if error.code == 403:
        hint = "the token does not open it" if server.token else "it wants a token"
        return ServerError(
            f"{server.url} refuses: {hint}. Set COLLABKERNEL_TOKEN to the server's token.", "access-denied"
        )
    if error.code == 404 and not code:
        return ServerError(
            f"{server.url} has no collabkernel. Is the package installed where the server runs, and the URL its base?"
            " `jupyter server extension list` tells.",
            "no-collabkernel",
        )
    return ServerError(f"{server.url} refuses: {message}" + (f" ({code})" if code else ""), code)


def running_servers() -> Iterator[Server]:
    """Servers of this user on this machine, as the installed entry points tell."""
    for entry_point in entry_points(group=SERVERS_GROUP):
        for url, token in entry_point.load()():
            yield Server(_base_url(url), token)


def _base_url(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise click.UsageError(f"{url!r} is no server URL; write it as http://localhost:8888/")
    # A URL copied from a browser goes on into JupyterLab or the file browser; the base is what stands before.
    path = re.sub(r"/(lab|tree|notebooks)(/.*)?$", "/", parts.path).rstrip("/") + "/"
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def _place(url: str) -> tuple[str, int | None, str]:
    """What two URLs of one server have in common: loopback names count as one."""
    parts = urllib.parse.urlsplit(url)
    host = "localhost" if parts.hostname in _LOOPBACK else parts.hostname or ""
    return host, parts.port, parts.path


def find_server(url: str | None, token: str | None) -> Server:
    """The server to ask: the one named, of several the first that answers, else the only one that runs here.

    Raises:
        ServerError: If there is none, or more than one.
    """
    if url is not None and "," in url:
        return _first_that_answers(url.split(","), token)
    if url is not None:
        base = _base_url(url)
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)
        known = (server.token for server in running_servers() if _place(server.url) == _place(base))
        return Server(base, token or query.get("token", [""])[0] or next(known, ""))
    found, reasons = [], []
    for server in running_servers():
        candidate = Server(server.url, token or server.token)
        try:
            candidate.get("info")
        except ServerError as error:
            reasons.append(f"  {error.message}")
        else:
            found.append(candidate)
    if len(found) == 1:
        return found[0]
    if found:
        urls = "\n".join(f"  --url {server.url}" for server in found)
        raise ServerError(f"{len(found)} servers with collabkernel are running; say which one:\n{urls}")
    if reasons:
        raise ServerError("no running server answers with rooms:\n" + "\n".join(reasons))
    raise ServerError("no running server was found. Start one with `jupyter lab`, or name one with --url.")


def _first_that_answers(urls: Sequence[str], token: str | None) -> Server:
    reasons = []
    for url in urls:
        server = find_server(url.strip(), token)
        try:
            server.get("info")
        except ServerError as error:
            reasons.append(f"  {error.message}")
        else:
            return server
    raise ServerError("no server of COLLABKERNEL_URL answers with rooms:\n" + "\n".join(reasons))


# -- commands


def _server_options(command: Callable[..., None]) -> Callable[..., None]:
    command = click.option(
        "--token",
        envvar="COLLABKERNEL_TOKEN",
        help="The server's token. Better in COLLABKERNEL_TOKEN: a command line is seen by others on the machine.",
    )(command)
    return click.option(
        "--url",
        envvar="COLLABKERNEL_URL",
        help="The server's base URL, such as http://localhost:8888/. Without it, the one that runs here.",
    )(command)


class _Commands(click.Group):
    """The commands here, and those that entry points name; one of these is loaded when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *(point.name for point in entry_points(group=COMMANDS_GROUP))})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = super().get_command(ctx, cmd_name)
        for point in entry_points(group=COMMANDS_GROUP, name=cmd_name) if command is None else ():
            loaded: click.Command = point.load()
            return loaded
        return command


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  collabkernel demo                     two people and an agent edit one board, here
  collabkernel rooms                    the rooms of the Jupyter server that runs here
  collabkernel show planning            one room as a tree
  collabkernel export planning -o p.json
  COLLABKERNEL_TOKEN=... collabkernel rooms --url https://hub.example.org/user/ann/

\b
In a notebook:
  import collabkernel as ck
  room = ck.connect("planning")
  room.list("tasks").append("write the plan")""",
)
@click.version_option(collabkernel.__version__, prog_name="collabkernel")
def main() -> None:
    """Live rooms that people, scripts and agents edit at once.

    A room is a tree of live values (maps, lists, texts) on a Jupyter server. These commands look into rooms; editing
    is done from notebooks, pages and scripts.
    """


@main.command()
@_server_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one array of all rooms.")
def rooms(url: str | None, token: str | None, as_json: bool) -> None:
    """List the rooms of a server.

    \b
    Examples:
      collabkernel rooms
      collabkernel rooms --json | jq -r '.[].room'
    """
    server = find_server(url, token)
    listed = list(_all_rooms(server))
    if as_json:
        click.echo(json.dumps(listed, indent=2))
        return
    console = Console()
    if not listed and server.get("info").get("degraded_since_ms"):
        console.print(DEGRADED, markup=False)
        return
    if not listed:
        console.print(
            f"No rooms yet on {server.url}. Make one in a notebook: collabkernel.connect('planning')", markup=False
        )
        return
    table = Table("room", "people and scripts", "operations", "last change", title=f"Rooms on {server.url}")
    for room in listed:
        table.add_row(
            Text(_printable(str(room["room"]))),
            str(room["sessions"] or ""),
            f"{room['seq']:,}",
            "degraded" if room.get("is_degraded") else _when(room["updated_ms"]),
        )
    console.print(table)
    if any(room.get("is_degraded") for room in listed):
        console.print(DEGRADED, markup=False)


def _all_rooms(server: Server) -> Iterator[dict[str, Any]]:
    after: str | None = ""
    while after is not None:
        page = server.get("rooms?" + urllib.parse.urlencode({"after": after}))
        yield from page["rooms"]
        after = page["next"]


def _when(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


@main.command()
@click.argument("room")
@_server_options
@click.option("--depth", type=click.IntRange(1, 64), default=64, help="Levels to show.", show_default=True)
def show(room: str, url: str | None, token: str | None, depth: int) -> None:
    """Show the state of ROOM as a tree.

    \b
    Examples:
      collabkernel show planning
      collabkernel show planning --depth 2
    """
    described = _room(find_server(url, token), room)
    heading = Text.assemble((_printable(described["room"]), "bold"), f"  after {described['seq']:,} operations")
    tree = Tree(heading)
    _grow(tree, described["state"], depth)
    for session in described["sessions"]:
        heading.append(f"\n● {_printable(session['name'])} ({session['kind']})", "green")
    Console().print(tree)


def _room(server: Server, room: str) -> dict[str, Any]:
    described: dict[str, Any] = server.get("rooms/" + urllib.parse.quote(room, safe=""))
    return described


def _grow(tree: Tree, value: Any, depth: int) -> None:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        label = Text(_printable(str(key)), "cyan")
        if isinstance(item, dict | list):
            unit = "keys" if isinstance(item, dict) else "items"
            branch = tree.add(label.append(f"  {len(item)} {unit}", "dim"))
            if depth > 1:
                _grow(branch, item, depth - 1)
        else:
            tree.add(label.append(": ", "dim").append(_shown(item), "none"))


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return _printable(text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}… ({len(text):,} characters)")


def _printable(text: str) -> str:
    """Without what a terminal would obey: a room's text comes from others."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


@main.command()
@click.argument("room")
@_server_options
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, writable=True, path_type=Path), help="File to write; else stdout."
)
def export(room: str, url: str | None, token: str | None, output: Path | None) -> None:
    """Write the state of ROOM as JSON: {"room", "seq", "state"}.

    \b
    Examples:
      collabkernel export planning -o planning.json
      collabkernel export planning | jq .state.tasks
    """
    described = _room(find_server(url, token), room)
    kept = {name: described[name] for name in ("room", "seq", "state")}
    text = json.dumps(kept, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if output is None:
        sys.stdout.write(text)
        return
    # Beside and then renamed: who reads the file meanwhile sees the old one or the new one, never half.
    beside = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(output)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise click.ClickException(f"cannot write {output}: {error.strerror}") from None
    click.echo(f"{output}: {room} after {described['seq']:,} operations", err=True)


@main.command()
@_server_options
@click.option("--seconds", type=click.FloatRange(0, 3600), default=10, help="How long it takes.", show_default=True)
def drain(url: str | None, token: str | None, seconds: float) -> None:
    """Send the sessions of a server to the others on its database.

    The server takes no new sessions, and `ready` says so to load balancers. This command waits until nobody is left
    there; then it can be stopped without anybody waiting.

    \b
    Examples:
      collabkernel drain --url http://localhost:8888/
      collabkernel drain --url http://localhost:8888/ --seconds 60
    """
    if url is not None and "," in url:
        raise click.UsageError("name the one server to drain: --url http://host:port/")
    server = find_server(url, token)
    left = server.post("drain", {"seconds": seconds})["sessions"]
    deadline_s = time.monotonic() + seconds + TIMEOUT_S
    while left and time.monotonic() < deadline_s:
        click.echo(f"{left} sessions are left on {server.url}", err=True)
        time.sleep(DRAIN_LOOK_S)
        left = server.get("info")["sessions"]
    if left:
        raise ServerError(f"{left} sessions are still on {server.url}; they go when it is stopped", "still-draining")
    click.echo(f"{server.url} is drained; stop it, or start it again to have it take sessions")


@main.command()
@click.option("--seconds", type=click.FloatRange(1, 600), default=12, help="How long it runs.", show_default=True)
def demo(seconds: float) -> None:
    """Watch two people and an agent edit one board, in this terminal.

    Nothing is started and nothing is kept: the hub and its three clients live in this process.

    \b
    Examples:
      collabkernel demo
      collabkernel demo --seconds 30
    """
    from collabkernel.demo import run_demo  # the server and client floors: slow to import, and only this needs them

    run_demo(seconds)


if __name__ == "__main__":
    main()
