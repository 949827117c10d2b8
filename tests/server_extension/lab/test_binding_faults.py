"""A document and its file when something is at fault: what was typed is saved, and nothing is lost."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from collabkernel_server.lab import binding, document_content, local_file
from collabkernel_server.lab.content import is_same, merged
from collabkernel_server.lab.disk import Disk
from collabkernel_server.lab.saver import SavePauses
from pycrdt import Map, Text

from tests.bounds import HANG_S
from tests.server_extension.lab.file_world import (
    Server,
    contents_at,
    notebook,
    sources_of,
    text_of,
    type_in_cell,
    type_text,
    until,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server(tmp_path, root):
    server = await Server(tmp_path / "db.sqlite", contents_at(root)).start()
    yield server
    await server.stop()


@pytest.fixture
async def quick_to_rest(tmp_path, root):
    server = await Server(tmp_path / "db.sqlite", contents_at(root), rest_ms=20).start()
    yield server
    await server.stop()


async def test_a_fault_of_a_merge_ends_neither_the_document_nor_its_saves(server, root, caplog, monkeypatch):
    file = root / "a.txt"
    file.write_text("one\n")
    ann = await server.person(await server.open("a.txt"))

    def broken(*_):
        monkeypatch.setattr(document_content, "merged", merged)
        raise RuntimeError("a fault")

    monkeypatch.setattr(document_content, "merged", broken)
    file.write_text("one\nfrom outside\n")
    await until(lambda: "a fault" in caplog.text)
    type_text(ann, "zero\n", 0)

    await until(lambda: file.read_text() == "zero\none\nfrom outside\n")


async def test_what_is_no_cell_keeps_a_notebook_neither_from_its_file_nor_from_opening(server, root, tmp_path):
    file = root / "a.ipynb"
    file.write_text(json.dumps(notebook("x = 1")))
    ann = await server.person(await server.open("a.ipynb", "json:notebook"))
    ann.document.ycells.append(5)
    ann.document.ycells.append(Map({"cell_type": "code", "source": Text("y = 2")}))
    ann.ydoc.get("meta", type=Map)["nbformat"] = "four"
    await ann.flush()

    assert await server.documents.save(ann.room_id) == "success"
    assert sources_of(file) == ["x = 1", "y = 2"]

    ann.document.ycells.append("of a server that was killed")
    await ann.flush()
    await server.kill()
    again = await Server(tmp_path / "db.sqlite", contents_at(root)).start()
    try:
        ann = await again.person(await again.documents.open(ann.room_id))
        type_in_cell(ann, 0, "0")
        await until(lambda: sources_of(file) == ["x = 10", "y = 2"])
    finally:
        await again.stop()


async def test_a_document_of_which_nothing_can_be_told_is_open_and_saved(quick_to_rest, root, caplog, monkeypatch):
    file = root / "a.txt"
    file.write_text("one\n")
    held = await quick_to_rest.open("a.txt")
    opened = quick_to_rest.documents.loaded(held.client.room_id)
    other = await quick_to_rest.documents.open(held.client.room_id)
    held.release()
    await until(lambda: not opened.client.is_awake)

    def broken(*_):
        monkeypatch.setattr(binding, "is_same", is_same)
        raise RuntimeError("a fault")

    monkeypatch.setattr(binding, "is_same", broken)
    ann = await quick_to_rest.person(other)
    type_text(ann, "two\n")

    await until(lambda: file.read_text() == "one\ntwo\n")
    assert "a fault" in caplog.text
    assert opened.is_alive


async def test_what_is_edited_while_its_replica_wakes_is_saved(quick_to_rest, root):
    file = root / "a.txt"
    file.write_text("one\n")
    held = await quick_to_rest.open("a.txt")
    opened = quick_to_rest.documents.loaded(held.client.room_id)
    ann = await quick_to_rest.person(held)
    other = await quick_to_rest.documents.open(held.client.room_id)
    held.release()
    await until(lambda: not opened.client.is_awake)
    asked = opened.client._asked_for_all

    async def edited_meanwhile():
        opened.client._asked_for_all = asked
        type_text(ann, "two\n")
        await ann.flush()
        await opened.client.take_in()
        return await asked()

    opened.client._asked_for_all = edited_meanwhile
    await other.wake()

    assert text_of(other.client) == "one\ntwo\n"
    await until(lambda: file.read_text() == "one\ntwo\n")


@pytest.fixture
async def asked_only(tmp_path, root):
    """A server that looks at files and saves them when somebody asks."""
    pauses = SavePauses(debounce_ms=10**9, longest_ms=10**9)
    server = await Server(tmp_path / "db.sqlite", contents_at(root), pauses=pauses, poll_s=HANG_S).start()
    yield server
    await server.stop()


async def test_a_save_waits_for_a_file_that_is_being_written(asked_only, root, monkeypatch):
    file = root / "a.txt"
    file.write_text("one\ntwo\n")
    ann = await asked_only.person(await asked_only.open("a.txt"))
    type_text(ann, "typed\n", 0)
    await ann.flush()
    settled = Disk.settled

    async def written(self, path, stamp, is_hurried):
        file.write_text("one\ntwo\nfrom outside\n")
        return await settled(self, path, stamp, is_hurried)

    monkeypatch.setattr(Disk, "settled", written)
    file.write_text("")  # a program that has begun to write it

    assert await asked_only.documents.save(ann.room_id) == "success"
    await ann.synced()
    assert file.read_text() == text_of(ann) == "typed\none\ntwo\nfrom outside\n"


def cut_short(monkeypatch, kept):
    """Writes in place leave so many bytes, as on a full disk."""

    def overwrite(os_path, data):
        Path(os_path).write_bytes(data[:kept])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(local_file, "_overwrite", overwrite)


@pytest.mark.parametrize("kept", [0, 5, 7])
async def test_a_write_in_place_that_was_cut_short_deletes_nothing(asked_only, root, monkeypatch, kept):
    file = root / "a.txt"
    file.write_text("one\ntwo\n")
    os.link(file, root / "hard.txt")
    ann = await asked_only.person(await asked_only.open("a.txt"))
    type_text(ann, "caf\u00e9\n", 3)
    await ann.flush()
    with monkeypatch.context() as patch:
        cut_short(patch, kept)
        assert await asked_only.documents.save(ann.room_id) == "failed"
    assert file.stat().st_size == kept

    assert await asked_only.documents.save(ann.room_id) == "success"

    await ann.synced()
    assert file.read_text() == (root / "hard.txt").read_text() == text_of(ann) == "onecaf\u00e9\n\ntwo\n"


async def test_a_notebook_that_a_crash_cut_short_is_written_again(asked_only, root, tmp_path, monkeypatch):
    file = root / "a.ipynb"
    file.write_text(json.dumps(notebook("x = 1", "y = 2")))
    os.link(file, root / "hard.ipynb")
    ann = await asked_only.person(await asked_only.open("a.ipynb", "json:notebook"))
    type_in_cell(ann, 0, "0")
    await ann.flush()
    with monkeypatch.context() as patch:
        cut_short(patch, 100)
        assert await asked_only.documents.save(ann.room_id) == "failed"
    await asked_only.kill()

    again = await Server(tmp_path / "db.sqlite", contents_at(root)).start()
    try:
        held = await again.documents.open(ann.room_id)
        await until(lambda: file.stat().st_size > 100)
        await until(lambda: again.documents.loaded(ann.room_id).is_saved)
        assert sources_of(file) == ["x = 10", "y = 2"]
        file.write_bytes(file.read_bytes()[:100])
        type_in_cell(await again.person(held), 1, "0")
        await again.stop()
        assert file.stat().st_size == 100, "that was somebody else, and is no notebook"
    finally:
        await again.stop()


async def test_what_somebody_wrote_over_a_file_that_was_cut_short_is_merged(asked_only, root, monkeypatch):
    file = root / "a.txt"
    file.write_text("one\ntwo\n")
    os.link(file, root / "hard.txt")
    ann = await asked_only.person(await asked_only.open("a.txt"))
    type_text(ann, "three\n")
    await ann.flush()
    with monkeypatch.context() as patch:
        cut_short(patch, 2)
        assert await asked_only.documents.save(ann.room_id) == "failed"
    file.write_text("zero\none\ntwo\n")

    assert await asked_only.documents.save(ann.room_id) == "success"

    assert file.read_text() == "zero\none\ntwo\nthree\n"
