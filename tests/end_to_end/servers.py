"""Three real Jupyter servers on one PostgreSQL and one Valkey, and what may befall them."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.bus.valkey import Valkey
from tests.contract.databases import Postgres, postgres_server
from tests.contract.line import Line
from tests.ports import free_port
from tests.server_extension.running_server import RunningServer


def sessions(server: RunningServer) -> int:
    """How many it has."""
    return int(server.request("GET", "collabkernel/api/info").json["sessions"])


class Cluster:
    """Servers, each with lines of its own to the databases. Enter it, and it runs."""

    def __init__(self, folder: Path, *options: str, count: int = 3, start: int | None = None) -> None:
        """Prepare.

        Args:
            folder: For all of it.
            options: Of each server.
            count: How many servers there are.
            start: How many of them run at first.
        """
        self._folder = folder
        self._options = options
        self._ports = [free_port() for _ in range(count)]
        self._start_count = count if start is None else start
        self._stack = ExitStack()
        self.postgres: Postgres
        self.valkey: Valkey
        self.lines: list[dict[str, Line]] = []
        """Of each server, to ``postgres`` and ``valkey``."""
        self.servers: list[RunningServer] = []
        self.killed_at_s: list[tuple[str, float]] = []
        """URL of each server that was killed, and when, seconds since the Unix epoch."""
        self.logs: list[str] = []
        """Of those that were killed."""

    @property
    def urls(self) -> list[str]:
        """Of all servers, running or not."""
        return [f"http://127.0.0.1:{port}/base/" for port in self._ports]

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.postgres = stack.enter_context(postgres_server())
            self.valkey = Valkey(self._folder / "valkey").start()
            stack.callback(lambda: self.valkey.kill())
            for _ in self._ports:
                to_postgres, to_valkey = Line(lambda: self.postgres.socket), Line(lambda: self.valkey.address)
                stack.callback(to_postgres.close)
                stack.callback(to_valkey.close)
                self.lines.append({"postgres": to_postgres, "valkey": to_valkey})
            first = self._start(0)  # it makes the tables, and the secret
            with ThreadPoolExecutor() as pool:
                self.servers = [first, *pool.map(self._start, range(1, self._start_count))]
            stack.callback(self._kill_all)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def _start(self, number: int) -> RunningServer:
        lines = self.lines[number]
        return RunningServer(
            self._folder / f"server-{number}",
            f"--CollabKernelServer.db_url=postgresql://postgres:@127.0.0.1:{lines['postgres'].port}/postgres",
            f"--CollabKernelServer.redis_url=redis://127.0.0.1:{lines['valkey'].port}",
            f"--ServerApp.cookie_secret_file={self._folder / 'cookie_secret'}",
            "--IdentityProvider.cookie_name=rooms",
            *self._options,
            port=self._ports[number],
        )

    def _kill_all(self) -> None:
        for server in self.servers:
            server.process.send_signal(signal.SIGCONT)
            server.process.kill()
            server.process.wait()

    def kill_server(self, number: int) -> None:
        """SIGKILL."""
        server = self.servers[number]
        self.killed_at_s.append((server.base_url, time.time()))
        server.process.kill()
        server.process.wait()
        self.logs.append(server.log)

    def start_next(self) -> None:
        """Start one that has not run yet."""
        self.servers.append(self._start(len(self.servers)))

    def restart_server(self, number: int) -> None:
        """Start it again where it was."""
        self.servers[number] = self._start(number)


class Faults:
    """One fault after the other, of each kind in turn, chosen by a seed."""

    def __init__(self, cluster: Cluster, rng: random.Random) -> None:
        self._cluster = cluster
        self._rng = rng
        self._kinds: list[Callable[[], str]] = []

    def next(self) -> str:
        """Make one, and mend it; what it was."""
        if not self._kinds:
            self._kinds = [
                self._kill_server,
                self._pause_server,
                self._kill_valkey,
                self._kill_postgres,
                *[lambda how=how: self._bend_line(how) for how in ("delay", "swallow", "cut")],  # type: ignore[misc]
            ]
            self._rng.shuffle(self._kinds)
        return self._kinds.pop()()

    def _number(self) -> int:
        return self._rng.randrange(len(self._cluster.servers))

    def _hold(self, most_s: float) -> str:
        seconds = self._rng.uniform(0.2, most_s)
        time.sleep(seconds)  # how long a fault lasts is part of it
        return f"{seconds:.1f} s"

    def _kill_server(self) -> str:
        # The one with most sessions: after other faults there may be some without any.
        number = max(range(len(self._cluster.servers)), key=lambda each: sessions(self._cluster.servers[each]))
        self._cluster.kill_server(number)
        held = self._hold(2.0)
        self._cluster.restart_server(number)
        return f"server {number} killed, started again after {held}"

    def _pause_server(self) -> str:
        number = self._number()
        process = self._cluster.servers[number].process
        process.send_signal(signal.SIGSTOP)
        held = self._hold(4.0)
        process.send_signal(signal.SIGCONT)
        return f"server {number} stood still for {held}"

    def _kill_valkey(self) -> str:
        self._cluster.valkey.kill()
        held = self._hold(2.0)
        self._cluster.valkey.start()
        return f"valkey killed, started again after {held}"

    def _kill_postgres(self) -> str:
        self._cluster.postgres.kill()
        held = self._hold(2.0)
        self._cluster.postgres.start()
        return f"postgres killed, started again after {held}"

    def _bend_line(self, how: str) -> str:
        number, name = self._number(), self._rng.choice(["postgres", "valkey"])
        line = self._cluster.lines[number][name]
        if how == "delay":
            line.delay(self._rng.uniform(0.02, 0.3))
        elif how == "swallow":
            line.swallow()
        else:
            line.cut()
        held = self._hold(3.0)
        line.heal()
        return f"line from server {number} to {name}: {how} for {held}"
