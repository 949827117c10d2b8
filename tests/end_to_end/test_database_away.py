"""PostgreSQL behind a line that is cut and mended, under a real server and real clients: nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

import collabkernel
from collabkernel.client.async_room import AsyncRoom
from collabkernel.limits import Limits
from collabkernel.storage.sql import SqlStorage
from tests.bounds import HANG_S
from tests.contract.databases import running_postgres
from tests.contract.line import Line, postgres_line
from tests.server_extension.running_server import Member, RunningServer, xsrf_headers
from tests.simulation.verdict import digest

ROOM = "away"
LIMITS = replace(Limits(), reconnect_max_ms=500)
TURNS = 3
"""Times that the line is cut."""


async def until(is_there: Callable[[], Any], what: str) -> None:
    """Wait for what clients see."""
    try:
        async with asyncio.timeout(HANG_S):
            while not is_there():  # noqa: ASYNC110  # what is waited for has no event that all clients share
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"{what} did not come") from None


async def stored(storage: SqlStorage) -> list[tuple[int, int]]:
    """(site, counter) of the whole log, asked of the database itself."""
    return [(row.site, row.counter) async for rows in storage.read_ops(ROOM, 0) for row in rows]


async def is_degraded(server: RunningServer) -> bool:
    answer = await asyncio.to_thread(server.request, "GET", "collabkernel/api/info")
    assert answer.status == 200
    return answer.json["degraded_since_ms"] is not None


async def edit_while_it_is_away(line: Line, storage: SqlStorage, ann: AsyncRoom, bob: AsyncRoom, n: int) -> None:
    """Cut the line, edit at both ends, and see that nothing is shown or acknowledged that is not stored."""
    before = await stored(storage)
    line.cut()
    ann.list("log").append(f"ann {n}")
    await until(lambda: ann.replica.is_degraded and bob.replica.is_degraded, "Degraded")
    bob.list("log").append(f"bob {n}")
    ann.text("notes").insert(0, f"<{n}>")
    assert (ann.status, bob.status) == ("live", "live")

    ann.me["turn"] = n
    heard: list[Any] = []
    bob.on("wave", heard.append)
    ann.broadcast("wave", n)
    await until(lambda: [other.state.get("turn") for other in bob.others] == [n] and heard, "presence")
    assert f"ann {n}" not in list(bob.list("log"))
    assert f"bob {n}" not in list(ann.list("log"))
    assert not ann.replica.is_saved
    assert not bob.replica.is_saved
    assert (ann.sync_status, bob.sync_status) == ("degraded", "degraded")
    with pytest.raises(TimeoutError, match="database does not answer"):
        await ann.flush(0.01)
    assert await stored(storage) == before


async def listed(server: RunningServer) -> str:
    """What ``collabkernel rooms`` says."""
    command = [sys.executable, "-m", "collabkernel.cli", "rooms", "--url", server.base_url, "--token", server.token]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=HANG_S)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


async def live_through(url: str, folder: Path) -> RunningServer:
    direct = SqlStorage(url)
    await direct.open()
    line, line_url = postgres_line(url)
    options = [f"--CollabKernelServer.db_url={line_url}", "--CollabKernelServer.storage_retry_max_ms=500"]
    server = await asyncio.to_thread(RunningServer, folder, *options)
    at = {"url": server.base_url, "token": server.token, "limits": LIMITS}
    async with (
        collabkernel.aio.connect(ROOM, **at) as ann,
        collabkernel.aio.connect(ROOM, **at) as bob,
    ):
        ann.list("log").append("first")
        await ann.flush()
        for n in range(TURNS):
            ticket = await asyncio.to_thread(server.mint, ROOM)
            await edit_while_it_is_away(line, direct, ann, bob, n)
            assert await is_degraded(server)
            refused = await asyncio.to_thread(server.open, ROOM)
            bye = (await asyncio.to_thread(refused.receive, lambda message: message.bye)).bye
            assert bye is not None
            assert (bye.code, bye.retry_after_ms) == ("degraded", 2000)
            assert "database does not answer" in await listed(server)
            await asyncio.to_thread(refuse_tickets, server, ticket)

            line.heal()
            await asyncio.gather(ann.flush(HANG_S), bob.flush(HANG_S))
            await until(lambda: ann.replica.through == bob.replica.through, "the rest of the log")
            (await asyncio.to_thread(open_with, server, ticket)).socket.close()
        assert not await is_degraded(server)
        assert "degraded" not in await listed(server)
        wanted = Counter(["first", *[f"{name} {n}" for n in range(TURNS) for name in ("ann", "bob")]])
        assert Counter(list(ann.list("log"))) == wanted, "each edit is there once"
        assert str(bob.text("notes")) == "<2><1><0>"
        assert digest(ann.replica.tree) == digest(bob.replica.tree)
    ids = await stored(direct)
    assert len(ids) == len(set(ids))
    assert await asyncio.to_thread(server.stop) <= server.stop_s_max
    line.close()
    await direct.close()
    return server


def open_with(server: RunningServer, ticket: str) -> Member:
    return server.open(ROOM, f"?auth_ticket={ticket}", person=None)


def refuse_tickets(server: RunningServer, ticket: str) -> None:
    """None is given and none is spent, and who asks is told to come back; no load balancer sends him elsewhere."""
    assert server.request("GET", "collabkernel/api/ready", person=None).status == 200
    minting = server.request("POST", "collabkernel/api/auth_ticket", {"room": ROOM}, **xsrf_headers())
    assert (minting.status, minting.json["code"], minting.json["retry_after_ms"]) == (503, "degraded", 2000)
    with pytest.raises(InvalidStatus) as spending:
        open_with(server, ticket)
    answer = spending.value.response
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert json.loads(answer.body)["code"] == "degraded"


def test_edits_made_while_the_database_is_away_arrive_once_when_it_is_back(tmp_path: Path) -> None:
    with running_postgres() as url:
        server = asyncio.run(live_through(url, tmp_path))
    assert server.log.count("Rooms are degraded") == server.log.count("The database answers again") == TURNS
    assert "Traceback" not in server.log
