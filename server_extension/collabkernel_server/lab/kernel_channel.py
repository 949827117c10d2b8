"""This server's own connection to one kernel: it asks for one run at a time, and gives what the kernel says of it."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from queue import Empty
from typing import Any, NamedTuple

import zmq
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_server.services.kernels.kernelmanager import ServerKernelManager

READY_RETRY_S = 0.5
"""A kernel that answered before this connection heard what it publishes is asked again after this."""
IDLE_WAIT_S = 5.0
"""After the reply the kernel publishes that it is done; one that has not by then lost the message."""
LOOK_S = 1.0
"""How often a silent kernel is looked at for whether it lives."""
NO_KEYBOARD = "\nThis cell runs on the server, which has no keyboard: input() and getpass() cannot be answered.\n"


class KernelGoneError(Exception):
    """The kernel died, was restarted, or was shut down."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
        """For people, as the name of an error."""


class Message(NamedTuple):
    """What a kernel says about a run."""

    msg_type: str
    content: dict[str, Any]


class KernelChannel:
    """``open`` before, ``close`` after."""

    def __init__(self, kernel: ServerKernelManager) -> None:
        self._kernel = kernel
        self._client: AsyncKernelClient | None = None
        self._messages: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()
        self._awaited: str | None = None
        """The id of the request whose messages matter; empty for all, None for none."""
        self._readers: list[asyncio.Task[None]] = []
        self._gone: asyncio.Future[KernelGoneError] = asyncio.get_running_loop().create_future()

    async def open(self) -> None:
        """Connect, and wait until what the kernel publishes is heard.

        Raises:
            KernelGoneError: It died before.
        """
        client = self._kernel.client()
        # The kernel tells its connections apart by their session; a shared one would get others' replies.
        client.session.session = uuid.uuid4().hex
        # What waits to be read waits here: the kernel would drop what it cannot get rid of.
        client.context.setsockopt(zmq.RCVHWM, 0)
        client.start_channels(hb=False)
        self._client = client
        for name, channel in (
            ("shell", client.shell_channel),
            ("iopub", client.iopub_channel),
            ("stdin", client.stdin_channel),
        ):
            self._readers.append(asyncio.create_task(self._read(name, channel), name=f"{name} of a kernel"))
        await self._hear()

    async def close(self) -> None:
        """Disconnect."""
        for reader in self._readers:
            reader.cancel()
        if self._readers:
            await asyncio.wait(self._readers)
        if self._client is not None:
            self._client.stop_channels()
            self._client.context.destroy(linger=0)
            self._client = None

    @property
    def is_gone(self) -> bool:
        """Whether the kernel that it is to is known to have ended."""
        return self._gone.done()

    def tell_gone(self, name: str, message: str) -> None:
        """The kernel is another one now, or none: whoever waits for it hears so."""
        if not self._gone.done():
            self._gone.set_result(KernelGoneError(name, message))

    async def run(self, code: str, cell_id: str) -> AsyncIterator[Message]:
        """Run code; all that the kernel says about it, of which ``execute_reply`` is the last.

        Updates of earlier displays that other runs cause come too.

        Raises:
            KernelGoneError: The kernel is not there any more.
        """
        assert self._client is not None
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": True,
        }
        request = self._client.session.msg("execute_request", content, metadata={"cellId": cell_id})
        self._awaited = request["header"]["msg_id"]
        self._client.shell_channel.send(request)
        try:
            async for message in self._messages_of_run():
                yield message
        finally:
            self._awaited = None

    # -- inside

    async def _messages_of_run(self) -> AsyncIterator[Message]:
        assert self._client is not None
        reply: Message | None = None
        is_idle = False
        while reply is None or not is_idle:
            channel, message = await self._next(IDLE_WAIT_S if reply else None)
            if not channel:
                break
            if channel == "stdin":
                self._client.input("")
                yield Message("stream", {"name": "stderr", "text": NO_KEYBOARD})
            elif channel == "shell":
                reply = Message(message["msg_type"], message["content"])
            elif message["msg_type"] == "status":
                is_idle = message["content"].get("execution_state") == "idle"
            else:
                yield Message(message["msg_type"], message["content"])
        assert reply is not None
        yield reply

    async def _read(self, name: str, channel: Any) -> None:
        while True:
            with contextlib.suppress(Empty):
                message = await channel.get_msg(timeout=None)
                if self._matters(message):
                    self._messages.put_nowait((name, message))

    def _matters(self, message: dict[str, Any]) -> bool:
        if not self._awaited:
            return self._awaited is not None
        is_ours: bool = message["parent_header"].get("msg_id") == self._awaited
        return is_ours or message["msg_type"] == "update_display_data"

    async def _hear(self) -> None:
        """Ask for the kernel's info until its answer and something published have come."""
        assert self._client is not None
        heard: set[str] = set()
        self._awaited = ""
        self._client.kernel_info()
        while True:
            channel, _ = await self._next(READY_RETRY_S if "shell" in heard else None)
            if channel:
                heard.add(channel)
            if heard >= {"shell", "iopub"}:
                break
            if not channel:
                heard.clear()
                self._client.kernel_info()
        self._awaited = None
        while not self._messages.empty():
            self._messages.get_nowait()

    async def _next(self, timeout_s: float | None) -> tuple[str, dict[str, Any]]:
        """The next message and its channel; no channel when none came in time.

        Raises:
            KernelGoneError: There will be none.
        """
        loop = asyncio.get_running_loop()
        end_s = None if timeout_s is None else loop.time() + timeout_s
        while True:
            if self._gone.done() and self._messages.empty():
                raise self._gone.result()
            left_s = LOOK_S if end_s is None else min(LOOK_S, end_s - loop.time())
            if left_s <= 0:
                return "", {}
            getting = asyncio.ensure_future(self._messages.get())
            done, _ = await asyncio.wait((getting, self._gone), timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            if getting in done:
                return getting.result()
            getting.cancel()
            if not done and not await self._kernel.is_alive():
                self.tell_gone("KernelDied", "the kernel died while this cell ran")
