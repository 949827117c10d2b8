"""What goes wrong in a simulated cluster: one thing after the other, at random."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.simulation.cluster import Cluster


class Troubles:
    """Of one cluster. Each lasts for a while and ends by itself, or with ``Cluster.heal``."""

    def __init__(self, cluster: Cluster, every_s: float) -> None:
        """Begin with none.

        Args:
            cluster: Where.
            every_s: On average, between two.
        """
        self._cluster = cluster
        self._every_s = every_s
        self._rng = cluster.rng
        self._odds: dict[Callable[[], object], float] = {
            self._cut_line: 6,
            self._pause_server: 4,
            self._pause_site: 2,
            self._crash_server: 3,
            self._stop_server: 1,
            self._drain_server: 1,
            self._crash_site: 0.5,
            self._set_clock: 1,
            self._lose_database: 1.5,
            self._fill_disk: 1.5,
            self._break_database: 3,
            self._slow_database: 2,
            self._split_database: 3,
            self._disconnect_bus: 3,
            self._split_bus: 2,
            self._spoil_bus: 5,
            self._split_client: 3,
            self._purge: cluster.size.purges,
        }

    async def go_on(self) -> None:
        """Until the history is over."""
        cluster, rng = self._cluster, self._rng
        while True:
            await asyncio.sleep(rng.expovariate(1 / self._every_s))
            if cluster.is_over:
                return
            (trouble,) = rng.choices(list(self._odds), list(self._odds.values()))
            trouble()

    def _later(self, mean_s: float, end: Callable[[], object]) -> None:
        loop = self._cluster.loop
        loop.call_later(self._rng.expovariate(1 / mean_s), end, context=loop.world)

    def _happened(self, fault: str, *details: object) -> None:
        self._cluster.chronicle.happened(fault, *details)

    # -- processes

    def _pause_server(self) -> None:
        server = self._rng.choice(self._cluster.servers)
        self._happened("server paused", server.name)
        server.process.pause(self._rng.choice((0.05, 0.5, 5.0)))

    def _pause_site(self) -> None:
        site = self._rng.choice(self._cluster.sites)
        self._happened("client paused", site.name)
        site.process.pause(self._rng.choice((0.5, 20.0)))

    def _crash_server(self) -> None:
        server = self._rng.choice(self._cluster.servers)
        if not server.process.is_dead and server.is_serving:
            self._happened("server crashed", server.name)
            server.crash()

    def _stop_server(self) -> None:
        server = self._rng.choice(self._cluster.servers)
        self._happened("server stopped", server.name)
        server.stop()

    def _drain_server(self) -> None:
        server = self._rng.choice(self._cluster.servers)
        self._happened("server drained", server.name)
        server.drain()

    def _crash_site(self) -> None:
        site = self._rng.choice(self._cluster.sites)
        self._happened("client killed", site.name)
        self._cluster.kill(site)

    def _set_clock(self) -> None:
        site = self._rng.choice(self._cluster.sites)
        self._happened("client's clock set", site.name)
        site.skew_s = self._rng.uniform(-30, 30)

    # -- the database

    def _lose_database(self) -> None:
        database = self._cluster.database
        if not database.is_away:
            self._happened("database away")
            database.is_away = True
            self._later(1, lambda: setattr(database, "is_away", False))

    def _fill_disk(self) -> None:
        database = self._cluster.database
        if not database.is_full:
            self._happened("disk full")
            database.is_full = True
            self._later(1, lambda: setattr(database, "is_full", False))

    def _break_database(self) -> None:
        database = self._cluster.database
        database.fault_odds = 0.1
        self._later(0.5, lambda: setattr(database, "fault_odds", 0.0))

    def _slow_database(self) -> None:
        database = self._cluster.database
        if database.slowness == 1.0:
            self._happened("database slow")
            database.slowness = self._rng.choice((20.0, 500.0))
            self._later(1, lambda: setattr(database, "slowness", 1.0))

    def _split_database(self) -> None:
        server = self._rng.choice(self._cluster.servers)
        connection = server.database
        self._happened("server cut off from the database", server.name)
        connection.is_cut = True
        self._later(2, lambda: setattr(connection, "is_cut", False))

    # -- the bus

    def _disconnect_bus(self) -> None:
        bus = self._rng.choice(self._cluster.servers).bus
        self._happened("server cut off from the bus", bus.process.name)
        bus.disconnect()
        self._later(2, bus.reconnect)

    def _split_bus(self) -> None:
        wires = self._cluster.wires
        wires.split = frozenset(self._rng.sample(list(self._cluster.server_by_name), 2))
        self._happened("servers split from each other")
        self._later(3, lambda: setattr(wires, "split", frozenset()))

    def _spoil_bus(self) -> None:
        wires, rng = self._cluster.wires, self._rng
        wires.loss_odds, wires.double_odds, wires.late_odds = (rng.choice((0.0, 0.1, 0.5)) for _ in range(3))

    def _purge(self) -> None:
        self._rng.choice(self._cluster.servers).purge()

    # -- lines

    def _cut_line(self) -> None:
        site = self._rng.choice(self._cluster.sites)
        if site.line is not None and not site.line.is_cut:
            self._happened("line cut", site.name)
            site.line.cut()

    def _split_client(self) -> None:
        cluster, rng = self._cluster, self._rng
        site, server = rng.choice(cluster.sites), rng.choice(cluster.servers)
        pair = site.name, server.name
        self._happened("client cut off from a server", *pair)
        cluster.split.add(pair)
        if site.line is not None and site.line.door is server:
            site.line.cut()
        self._later(3, lambda: cluster.split.discard(pair))
