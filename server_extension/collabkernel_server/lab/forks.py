"""Forks of documents: a room of its own that begins as a copy, may follow its root, and may be merged back.

Forks are rooms in storage as all others are, and so is the list of them: a small Yjs document that no page can open, of
which each server that is asked holds a replica. A fork is called by 32 hexadecimal digits on the wire, ``fork:`` and
those in storage.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from typing import Any

from pycrdt import Doc, Map, TransactionEvent

from collabkernel.errors import RoomNotFoundError, TooManyError
from collabkernel.room.session import Principal
from collabkernel.server.connection import Connection
from collabkernel.server.hub import Hub
from collabkernel.server.transport import Transport
from collabkernel_server.lab.document_client import RELAY, SERVER, DocumentClient
from collabkernel_server.lab.documents import Documents, OpenDocument
from collabkernel_server.lab.names import FORK_PREFIX, DocumentName, policy_of

REGISTRY = "list:forks"
"""The room of the list; its name is no document's, so no page can open it."""
FORKS_OF_A_DOCUMENT = 100
HISTORIES_OF_A_DOCUMENT = 4
"""Forks that show a document's history; the oldest goes when another is asked for."""
RETRY_MS = 60_000


@dataclass(frozen=True, slots=True)
class Fork:
    """One fork."""

    id: str
    root: str
    """The document that it came from."""
    title: str = ""
    description: str = ""
    synchronize: bool = False
    """Whether it follows its root."""
    seqs: tuple[int, ...] = ()
    """For one that shows the root's history: where in its log each step ends."""
    at: int = 0
    """... and which of them it shows."""
    number: int = field(default=0)
    """Later ones have higher numbers."""

    @property
    def room_id(self) -> str:
        """As storage has it."""
        return FORK_PREFIX + self.id

    @property
    def is_history(self) -> bool:
        """Whether it shows the root's history, rather than being somebody's own."""
        return bool(self.seqs)

    @property
    def type_name(self) -> str:
        """The type of document, which is the root's."""
        name = DocumentName.parse(self.root)
        assert name is not None
        return name.type

    def info(self) -> dict[str, Any]:
        """What JupyterLab calls ``fork_info``."""
        return {
            "root_roomid": self.root,
            "synchronize": self.synchronize,
            "title": self.title,
            "description": self.description,
        }


class Forks:
    """The forks of all documents."""

    def __init__(self, hub: Hub, documents: Documents) -> None:
        self._hub = hub
        self._documents = documents
        self._opening = asyncio.Lock()
        self._registry: DocumentClient | None = None

    async def stop(self) -> None:
        """Let the list go."""
        if self._registry is not None:
            await self._registry.stop()

    async def get(self, fork_id: str) -> Fork:
        """One fork.

        Raises:
            RoomNotFoundError: There is none.
        """
        found = (await self._entries()).get(fork_id)
        if found is None:
            raise RoomNotFoundError(fork_id)
        return _fork(fork_id, found)

    async def of(self, root: str) -> list[Fork]:
        """The forks of a document, histories among them, oldest first."""
        entries = await self._entries()
        forks = [_fork(fork_id, entry) for fork_id, entry in entries.items() if entry["root"] == root]
        return sorted(forks, key=lambda fork: fork.number)

    async def make(self, root: str, principal: Principal, **about: Any) -> Fork:
        """A copy of a document as it is now.

        Args:
            root: The document.
            principal: Who makes it.
            about: Fields of ``Fork``.

        Raises:
            RoomNotFoundError: There is no such document.
            TooManyError: It has too many forks.
        """
        siblings = await self.of(root)
        await self._make_room_for(siblings, is_history="seqs" in about)
        fork = Fork(uuid.uuid4().hex, root, number=siblings[-1].number + 1 if siblings else 1, **about)
        async with self.opened_root(root) as client:
            await client.synced()
            await self._hub.seed_document(fork.room_id, client.ydoc.get_update(), principal.actor)
        await self.put(fork)
        return fork

    async def _make_room_for(self, siblings: list[Fork], is_history: bool) -> None:
        alike = [fork for fork in siblings if fork.is_history is is_history]
        if not is_history and len(alike) >= FORKS_OF_A_DOCUMENT:
            raise TooManyError("forks of this document", FORKS_OF_A_DOCUMENT, RETRY_MS)
        if is_history:
            for fork in alike[: len(alike) - HISTORIES_OF_A_DOCUMENT + 1]:
                await self.delete(fork)

    async def put(self, fork: Fork) -> None:
        """Write what is known of a fork to the list."""
        entry = asdict(fork) | {"seqs": list(fork.seqs)}
        registry = await self._list()
        registry.ydoc.get("state", type=Map)[entry.pop("id")] = entry
        await registry.flush()

    async def delete(self, fork: Fork, merge: bool = False) -> None:
        """End a fork; who is in it is told.

        Args:
            fork: Which.
            merge: Whether its root gets first what was edited in it.
        """
        if merge:
            async with self.opened_root(fork.root) as root, self.opened(fork) as client:
                await client.synced()
                async with _joined(DocumentClient(self._hub, root.room_id, fork.type_name, RELAY)) as relay:
                    relay.ydoc.apply_update(client.ydoc.get_update(relay.ydoc.get_state()))
                    await relay.flush()
                await root.synced()
        registry = await self._list()
        entries = registry.ydoc.get("state", type=Map)
        if fork.id in entries:
            del entries[fork.id]
            await registry.flush()
        await self._hub.delete_document(fork.room_id)

    @contextlib.asynccontextmanager
    async def opened_root(self, root: str) -> AsyncIterator[DocumentClient]:
        """This server's replica of a document, held meanwhile."""
        held = await self._documents.open(root)
        try:
            yield await held.wake()
        finally:
            held.release()

    @contextlib.asynccontextmanager
    async def opened(self, fork: Fork) -> AsyncIterator[DocumentClient]:
        """A replica of a fork."""
        async with _joined(DocumentClient(self._hub, fork.room_id, fork.type_name)) as client:
            yield client

    async def _entries(self) -> dict[str, dict[str, Any]]:
        registry = await self._list()
        await registry.synced()
        entries: dict[str, dict[str, Any]] = registry.ydoc.get("state", type=Map).to_py() or {}
        return {fork_id: entry for fork_id, entry in entries.items() if fork_id != "list"}

    async def _list(self) -> DocumentClient:
        async with self._opening:
            if self._registry is None or not self._registry.is_alive:
                seed = Doc[Any](client_id=1)
                seed.get("state", type=Map)["list"] = "forks"
                await self._hub.seed_document(REGISTRY, seed.get_update(), SERVER.actor)
                registry = DocumentClient(self._hub, REGISTRY, "file")
                await registry.start()
                self._registry = registry
            return self._registry


@contextlib.asynccontextmanager
async def _joined(client: DocumentClient) -> AsyncIterator[DocumentClient]:
    """A client in its room."""
    await client.start()
    try:
        yield client
    finally:
        await client.stop()


def _fork(fork_id: str, entry: dict[str, Any]) -> Fork:
    # Yjs has no integers: what was one comes back as a float.
    seqs = tuple(int(seq) for seq in entry["seqs"])
    numbers = {name: int(entry[name]) for name in ("at", "number")}
    return Fork(fork_id, **(entry | numbers | {"seqs": seqs}))


class ForkLink:
    """Brings what is edited in a root into a fork of it, while somebody on this server has the fork open."""

    def __init__(self, root: OpenDocument, client: DocumentClient) -> None:
        self._root = root
        self._client = client
        ydoc = root.client.ydoc
        self._subscription = ydoc.observe(self._on_edit)
        client.ydoc.apply_update(ydoc.get_update(client.ydoc.get_state()))

    def _on_edit(self, event: TransactionEvent) -> None:
        self._client.ydoc.apply_update(event.update)

    async def close(self) -> None:
        """Follow no longer."""
        self._root.client.ydoc.unobserve(self._subscription)
        self._root.release()
        await self._client.stop()


class ForkLabRoom:
    """A fork, as a socket needs it."""

    def __init__(self, fork: Fork, hub: Hub, documents: Documents) -> None:
        self.room_id = fork.id
        self._fork = fork
        self._hub = hub
        self._documents = documents
        self._link: ForkLink | None = None
        self._closing: set[asyncio.Task[None]] = set()

    async def join(self, principal: Principal, transport: Transport) -> Connection:
        """Let a socket in; a fork that follows its root does so as long as it is there."""
        policy = policy_of(self._fork.type_name)
        connection = await self._hub.open_document(self._fork.room_id, principal, transport, policy)
        if self._fork.synchronize:
            try:
                self._link = await self._linked()
            except BaseException:
                await connection.close()
                raise
        return connection

    async def _linked(self) -> ForkLink:
        root = await self._documents.open(self._fork.root)
        client = DocumentClient(self._hub, self._fork.room_id, self._fork.type_name, RELAY)
        try:
            await root.wake()
            await client.start()
        except BaseException:
            root.release()
            raise
        return ForkLink(root, client)

    def leave(self, principal: Principal) -> None:  # noqa: ARG002  # as every room has it
        """The socket is gone, and the link with it."""
        if self._link is not None:
            task = asyncio.create_task(self._link.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
            self._link = None

    async def save(self) -> str:
        """A fork has no file."""
        return "skipped"
