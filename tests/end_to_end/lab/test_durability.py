"""What is acknowledged stays: through kills, on two servers, in a store that does not grow, and in the file."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.end_to_end.lab.conditions import until
from tests.end_to_end.lab.conftest import StartServer
from tests.peers.replica import Replica
from tests.peers.servers import PeerServer

pytestmark = pytest.mark.anyio

STORE_BYTES_MAX = 5_000_000
CHURN_TEXT = "x" * 50_000


def new_file(server: PeerServer, name: str, content: str = "") -> str:
    (server.files / name).write_text(content)
    return server.room_of(name)


def words(text: str) -> Counter[str]:
    return Counter(re.findall(r"<[^<>]*>", text))


async def type_words(replica: Replica, count: int, pause_s: float) -> list[str]:
    """Type words at a pace; those that were acknowledged when the last was."""
    typed = [f"<{replica.person}-{number}>" for number in range(count)]
    for word in typed:
        replica.type(word)
        await asyncio.sleep(pause_s)
    await replica.acknowledged()
    return typed


# F3: the debounce never fires while somebody types, the update log is thrown away at the restart for the file is older,
# and even the tab that reconnects with its full copy loses all 30 words.
async def test_six_seconds_of_typing_survive_kill_9(server: PeerServer) -> None:
    room = new_file(server, "a.txt")
    async with Replica(server, room) as ann:
        typed = await type_words(ann, 30, 0.2)
        server.kill()
    server.restart()

    async with Replica(server, room, "bob") as bob:
        assert words(bob.text) == Counter(typed)
        async with ann:
            ann.type("<and on>")
            await ann.acknowledged()
            assert words(await bob.until_text(lambda text: "<and on>" in text)) == Counter([*typed, "<and on>"])
        assert await bob.save() == "success"
    assert words((server.files / "a.txt").read_text()) == Counter([*typed, "<and on>"])


async def test_continuous_typing_is_saved(server: PeerServer) -> None:
    room = new_file(server, "a.txt")
    path = server.files / "a.txt"
    async with Replica(server, room) as ann:
        typing = asyncio.create_task(type_words(ann, 10_000, 0.1))
        await until(lambda: "<ann-0>" in path.read_text())
        typing.cancel()


# jupyter-server-ydoc keeps 0 of them, Hocuspocus 4.7 about 328.
@pytest.mark.parametrize("edits", [100, pytest.param(500, marks=pytest.mark.long)])
async def test_every_acknowledged_edit_survives_kill_9(server: PeerServer, edits: int) -> None:
    room = new_file(server, "a.txt")
    async with Replica(server, room) as ann:
        typed = await type_words(ann, edits, 0.03)
        server.kill()
    server.restart()

    async with Replica(server, room, "bob") as bob:
        assert words(bob.text) == Counter(typed)


# F4: each server reloads what the other has saved, and 40 of 80 edits are nowhere.
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
@pytest.mark.parametrize(("edits", "pause_s"), [(40, 0.05), pytest.param(40, 0.5, marks=pytest.mark.long)])
async def test_two_servers_on_one_directory_keep_every_edit(
    start_server: StartServer, request: pytest.FixtureRequest, database: str, edits: int, pause_s: float
) -> None:
    url = str(request.getfixturevalue("postgres_url")) if database == "postgres" else ""
    one, two = start_server("one", db_url=url), start_server("two", db_url=url)
    name = f"two-{edits}-{pause_s}.txt"
    room = new_file(one, name)
    assert two.room_of(name) == room, "both give the file the same id"
    async with Replica(one, room, "ann") as ann, Replica(two, room, "bob") as bob:
        typed = await asyncio.gather(type_words(ann, edits, pause_s), type_words(bob, edits, pause_s))
        wanted = Counter(typed[0] + typed[1])
        for replica in (ann, bob):
            assert words(await replica.until_text(lambda text: sum(words(text).values()) >= 2 * edits)) == wanted
        assert ann.text == bob.text
        assert await ann.save() in ("success", "skipped")
        await until(lambda: (one.files / name).read_text() == ann.text)
    for server in (one, two):
        async with Replica(server, room, "cyd") as cyd:
            assert words(cyd.text) == wanted


# F8: 160 MB of typing and deleting left a store of 160 MB for a file of 100 bytes.
@pytest.mark.timeout(900)
@pytest.mark.parametrize("megabytes", [20, pytest.param(100, marks=pytest.mark.long)])
async def test_churn_leaves_a_small_store(server: PeerServer, megabytes: int) -> None:
    room = new_file(server, "small.txt", "y" * 100)
    async with Replica(server, room) as ann:
        for number in range(megabytes * 1_000_000 // len(CHURN_TEXT)):
            ann.source += CHURN_TEXT
            del ann.source[100:]
            if number % 10 == 9:
                await ann.acknowledged()
        await ann.acknowledged()
        assert ann.text == "y" * 100
        await until(lambda: store_bytes(server) < STORE_BYTES_MAX, what=lambda: f"{store_bytes(server):,} bytes")
    async with Replica(server, room, "bob") as bob:
        assert bob.text == "y" * 100
    server.stop()
    # A server that lags behind with its store has written it all by now.
    assert store_bytes(server) < STORE_BYTES_MAX


def store_bytes(server: PeerServer) -> int:
    """All databases that the server keeps, wherever it puts them."""
    return sum(path.stat().st_size for path in Path(server.folder).rglob("*") if re.search(r"\.(db|sqlite)", path.name))
