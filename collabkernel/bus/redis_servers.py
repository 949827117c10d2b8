"""Which Redis servers there are, by URL: one, the master that Sentinels name, or the nodes of a Cluster."""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, SlotNotCoveredError

ANSWER_S = 5.0
"""A connection without a sign of life for this long, or half of it after being asked, is given up."""
REDIS_PORT, SENTINEL_PORT = 6379, 26379
_ALONE = "redis"
"""The name of the one server that has all channels."""


class Servers(Protocol):
    """Where channels are."""

    is_sharded: bool
    """Each channel is on one node alone (sharded pub/sub), and may move to another."""

    async def look(self) -> Set[str]:
        """Find out which node has which channel now; the names of those that have any.

        Raises:
            RedisError, OSError: None of the known ones tells.
        """

    def node_of(self, channel: bytes) -> str | None:
        """The name of the node that has a channel, as of the last look; None while none has it."""

    def client(self, node: str) -> Redis:
        """A new client of a node, for its user to close. It never reconnects in silence: that would hide a gap."""

    async def close(self) -> None:
        """Disconnect."""


def servers_at(url: str) -> Servers:
    """The servers that a URL names.

    ============================================================ ==================================================
    URL
    ============================================================ ==================================================
    ``redis://[[user]:password@]host[:port]``, ``unix://path``   one server, as redis-py takes it
    ``redis+sentinel://[...@]host[:port],.../service[/db]``      whichever is master of a service; the Sentinels'
                                                                 own ``?sentinel_username=``, ``sentinel_password=``
    ``redis+cluster://[...@]host[:port],...``                    a Cluster of Redis 7 or Valkey, and some of its nodes
    ``rediss://``, ``rediss+sentinel://``, ``rediss+cluster://`` the same over TLS
    ============================================================ ==================================================

    Raises:
        ValueError: If it names none.
    """
    scheme = url.partition("://")[0]
    if scheme in ("redis+sentinel", "rediss+sentinel"):
        return _SentinelServers(_parse(url, SENTINEL_PORT))
    if scheme in ("redis+cluster", "rediss+cluster"):
        return _ClusterServers(_parse(url, REDIS_PORT))
    return _OneServer(lambda: Redis.from_url(url, **_patience()))


class _OneServer:
    is_sharded = False

    def __init__(self, make_client: Callable[[], Any]) -> None:
        self._make_client = make_client
        make_client()  # a URL that is none is said now

    async def look(self) -> Set[str]:
        """There is nothing to be found out: a connection that is made anew asks for itself."""
        return {_ALONE}

    def node_of(self, channel: bytes) -> str:
        del channel
        return _ALONE

    def client(self, node: str) -> Redis:
        del node
        client: Redis = self._make_client()
        return client

    async def close(self) -> None:
        """Nothing is held."""


class _SentinelServers(_OneServer):
    def __init__(self, place: _Place) -> None:
        service, _, db = place.path.partition("/")
        if not service or (db and not db.isdecimal()):
            raise ValueError(
                "after the Sentinels comes the service that they watch: redis+sentinel://host,host/service"
            )
        own = {name: place.query.get(f"sentinel_{name}") for name in ("username", "password")}
        patience = {"socket_connect_timeout": ANSWER_S, "socket_timeout": ANSWER_S}
        asking = {**own, **place.tls, **patience}
        self._sentinel = Sentinel(place.addresses, sentinel_kwargs=asking)  # type: ignore[no-untyped-call]
        options: dict[str, Any] = {**place.login, **place.tls, "db": int(db or 0), **_patience()}
        super().__init__(lambda: self._sentinel.master_for(service, **options))

    async def close(self) -> None:
        for sentinel in self._sentinel.sentinels:
            await sentinel.aclose()


class _ClusterServers:
    is_sharded = True

    def __init__(self, place: _Place) -> None:
        if place.path or place.query:
            raise ValueError("a Cluster has hosts alone: redis+cluster://host,host")
        self._options: dict[str, Any] = {**place.login, **place.tls}
        self._cluster = RedisCluster(
            startup_nodes=[ClusterNode(host, port) for host, port in place.addresses],
            require_full_coverage=False,  # rooms whose node is gone are looked up in the log
            **self._options,
            **_patience(),
        )

    async def look(self) -> Set[str]:
        try:
            await self._cluster.aclose()  # or it would know already
            await self._cluster.initialize()
        except RedisClusterException as error:
            raise ConnectionError(f"no node of the Cluster tells of the others: {error}") from error
        return {node.name for node in self._cluster.get_primaries()}

    def node_of(self, channel: bytes) -> str | None:
        try:
            node = self._cluster.get_node_from_key(channel.decode())
        except SlotNotCoveredError:
            return None
        return node.name if node is not None else None

    def client(self, node: str) -> Redis:
        host, _, port = node.rpartition(":")
        return Redis(host=host, port=int(port), **self._options, **_patience())

    async def close(self) -> None:
        await self._cluster.aclose()


class _Place(NamedTuple):
    """What a URL of several hosts says."""

    addresses: list[tuple[str, int]]
    login: dict[str, str]
    tls: dict[str, bool]
    path: str
    query: dict[str, str]


def _parse(url: str, default_port: int) -> _Place:
    parts = urlsplit(url)
    userinfo, _, hosts = parts.netloc.rpartition("@")
    username, _, password = userinfo.partition(":")
    login = {"username": unquote(username), "password": unquote(password)}
    addresses = []
    for each in hosts.split(","):
        one = urlsplit(f"//{each}")
        if not one.hostname:
            raise ValueError(f"{url.partition('://')[0]}:// is followed by hosts with commas between them")
        addresses.append((one.hostname, one.port or default_port))
    return _Place(
        addresses,
        {name: value for name, value in login.items() if value},
        {"ssl": True} if parts.scheme.startswith("rediss") else {},
        unquote(parts.path.strip("/")),
        {name: values[-1] for name, values in parse_qs(parts.query).items()},
    )


def _patience() -> dict[str, Any]:
    """No retries: what a silent reconnect would hide is a gap."""
    return {"retry": Retry(NoBackoff(), 0), "socket_connect_timeout": ANSWER_S, "socket_timeout": ANSWER_S}
