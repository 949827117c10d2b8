"""The content of an open document: read when all of it is there, and merged with what its file has."""

from __future__ import annotations

import pytest
from collabkernel_server.lab.content import encode_base, seed
from collabkernel_server.lab.document_client import DocumentClient
from collabkernel_server.lab.document_content import DocumentContent

from collabkernel.server.hub import Hub
from collabkernel.storage.memory import MemoryStorage
from tests.server_extension.lab.file_world import text_of, type_text

pytestmark = pytest.mark.anyio
ROOM = "text:file:plan"


async def test_what_others_typed_is_read_and_what_the_file_has_is_stored():
    hub = Hub(MemoryStorage())
    await hub.start()
    await hub.seed_document(ROOM, seed("file", "one\n", {})[0], "ann")
    ours, ann = (DocumentClient(hub, ROOM, "file") for _ in range(2))
    await ours.start_resting()
    await ann.start()
    content = DocumentContent(ours, "file")
    seen = []
    try:
        type_text(ann, "typed\n")
        await ann.flush()
        assert await content.read() == "one\ntyped\n"
        ours.document.observe(lambda *_: seen.append(content.is_merging))

        new = await content.merge(encode_base("one\n"), "zero\none\n")

        await ann.synced()
        assert new == text_of(ann) == "zero\none\ntyped\n"
        assert seen == [True]
        assert not content.is_merging
    finally:
        await ours.stop()
        await ann.stop()
        await hub.stop()
