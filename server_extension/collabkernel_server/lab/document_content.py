"""The content of an open document as a whole: all that is stored of it, and the changes of its file put into it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from jupyter_ydoc.ybasedoc import YBaseDoc

from collabkernel_server.lab.content import Content, Step, apply_steps, merged, read_content, steps
from collabkernel_server.lab.document_client import DocumentClient


class DocumentContent:
    """Of one document; it wakes the replica for what it does."""

    def __init__(self, client: DocumentClient, type_name: str) -> None:
        self.is_merging = False
        """Whether what is edited now comes from the file."""
        self._client = client
        self._type_name = type_name

    async def read(self) -> Content:
        """All that the room has stored by now. Raises as ``DocumentClient.synced`` does."""
        await self._client.synced()
        async with self._client.editing() as document:
            return await read_content(document)

    async def merge(self, base: bytes | None, disk: Content) -> Content:
        """The content with what was changed on disk since the base in it, and stored in the document's log."""
        await self._client.synced()
        # The room goes on meanwhile; this replica does not, so the edits made here fit what they were made for.
        async with self._client.editing() as document:
            old = await read_content(document)
            new = await asyncio.to_thread(merged, self._type_name, base, old, disk)
            plan = await asyncio.to_thread(steps, self._type_name, old, new)
            for _ in self._applied(document, plan):
                await asyncio.sleep(0)
        await self._client.flush()
        return new

    def _applied(self, document: YBaseDoc, plan: list[Step]) -> Iterator[None]:
        edits = apply_steps(document, plan)
        while True:
            self.is_merging = True
            try:
                next(edits)
            except StopIteration:
                return
            finally:
                self.is_merging = False
            yield
