"""Files through managers that are asked: in memory, synchronous or not, old or strict."""

from __future__ import annotations

import asyncio
import copy
import datetime
import json
import time

import pytest
from collabkernel_server.lab.disk import Disk
from collabkernel_server.lab.file_errors import FileGoneError, SaveFailedError, UnreadableFileError
from collabkernel_server.lab.names import DocumentName
from jupyter_server.services.contents.manager import AsyncContentsManager, ContentsManager
from tornado.web import HTTPError

from tests.server_extension.lab.file_world import (
    Server,
    contents_at,
    notebook,
    text_of,
    type_text,
    until,
)

pytestmark = pytest.mark.anyio
TEXT = DocumentName("text", "file", "1")
NOTEBOOK = DocumentName("json", "notebook", "1")


class InMemory:
    """A manager that keeps files in a dictionary, as one for a far store would: no directory, no temporary files."""

    def keep(self):
        self.files = {}
        self.saves = 0
        self.is_broken = False
        self.is_writable = True
        return self

    def _get(self, path, content=True, format=None):
        if path not in self.files:
            raise HTTPError(404, "no such file")
        value, number = self.files[path]
        if format == "json" and not isinstance(value, dict):
            raise HTTPError(400, "is no notebook")
        stamp = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(seconds=number)
        model = {"path": path, "last_modified": stamp, "writable": self.is_writable, "size": None}
        return {**model, "content": copy.deepcopy(value)} if content else model

    def _save(self, model, path):
        if self.is_broken:
            raise HTTPError(507, "the store is full")
        self.saves += 1
        self.files[path] = (copy.deepcopy(model["content"]), self.saves)
        return self._get(path, content=False)


class Synchronous(InMemory, ContentsManager):
    """... one that answers at once, and knows nothing of hashes."""

    def get(self, path, content=True, type=None, format=None):  # noqa: ARG002  # as the manager is asked
        return self._get(path, content, format)

    def save(self, model, path=""):
        return self._save(model, path)

    def file_exists(self, path=""):
        return path in self.files


class Asynchronous(InMemory, AsyncContentsManager):
    """... one that takes its time, and tells hashes."""

    async def get(self, path, content=True, type=None, format=None, require_hash=False):  # noqa: ARG002
        await asyncio.sleep(0)
        model = self._get(path, content, format)
        return {**model, "hash": f"hash {self.files[path]}"[:60]} if require_hash else model

    async def save(self, model, path=""):
        await asyncio.sleep(0)
        return self._save(model, path)

    async def file_exists(self, path=""):
        return path in self.files


@pytest.fixture(params=[Synchronous, Asynchronous])
def contents(request, tmp_path):
    return contents_at(tmp_path, request.param).keep()


async def yes(*_):
    return True


async def test_a_file_is_read_written_and_watched(contents):
    disk = Disk(contents)
    contents.files["a.txt"] = ("one\r\n", 0)
    found = await disk.read(TEXT, "a.txt")
    assert not disk.is_local
    assert found.content == "one\n"

    done = await disk.write(TEXT, "a.txt", "one\ntwo\n", found.seen, yes)

    assert contents.files["a.txt"][0] == "one\r\ntwo\r\n"
    assert done.seen.hash != found.hash
    assert (await disk.stamp("a.txt")).mark == done.seen.stamp.mark != found.stamp.mark


async def test_who_writes_right_behind_a_save_is_heard(contents):
    """What was read back after a save was taken for what was saved."""
    disk = Disk(contents)
    contents.files["a.txt"] = ("one\n", 0)
    found = await disk.read(TEXT, "a.txt")
    save = contents._save

    def save_and_be_overtaken(model, path):
        answer = save(model, path)
        save({"content": "zero\n"}, path)
        return answer

    contents._save = save_and_be_overtaken
    done = await disk.write(TEXT, "a.txt", "one\ntwo\n", found.seen, yes)
    now = await disk.read(TEXT, "a.txt")
    assert now.content == "zero\n"
    assert done.seen.stamp.mark != now.seen.stamp.mark
    assert done.seen.hash != now.hash


async def test_errors_of_a_manager_are_ours(contents):
    disk = Disk(contents)
    contents.files["a.txt"] = ("one", 0)
    found = await disk.read(TEXT, "a.txt")

    with pytest.raises(FileGoneError):
        await disk.read(TEXT, "b.txt")
    with pytest.raises(UnreadableFileError):
        await disk.read(NOTEBOOK, "a.txt")
    assert await disk.stamp("b.txt") is None
    contents.is_broken = True
    with pytest.raises(SaveFailedError, match="full"):
        await disk.write(TEXT, "a.txt", "two", found.seen, yes)
    del contents.files["a.txt"]
    with pytest.raises(FileGoneError):
        await disk.write(TEXT, "a.txt", "two", found.seen, yes)


async def test_a_document_lives_on_such_a_manager(contents, tmp_path):
    contents.files["a.txt"] = ("one\n", 0)
    server = await Server(tmp_path / "db.sqlite", contents).start()
    try:
        ann = await server.person(await server.open("a.txt"))
        type_text(ann, "two\n")
        await until(lambda: contents.files["a.txt"][0] == "one\ntwo\n")
        contents._save({"content": "zero\none\ntwo\n"}, "a.txt")
        await until(lambda: text_of(ann) == "zero\none\ntwo\n")
    finally:
        await server.stop()


async def test_a_file_that_may_not_be_written_is_not(contents, tmp_path):
    contents.files["a.txt"] = ("one\n", 0)
    contents.is_writable = False
    server = await Server(tmp_path / "db.sqlite", contents).start()
    try:
        ann = await server.person(await server.open("a.txt"))
        type_text(ann, "two\n")
        await ann.flush()
        assert await server.documents.save(ann.room_id) == "failed"
        assert contents.saves == 0
        contents.is_writable = True
        await until(lambda: contents.files["a.txt"][0] == "one\ntwo\n")
    finally:
        await server.stop()


async def test_a_failing_store_is_tried_again(contents, tmp_path):
    contents.files["a.txt"] = ("one\n", 0)
    server = await Server(tmp_path / "db.sqlite", contents).start()
    try:
        ann = await server.person(await server.open("a.txt"))
        contents.is_broken = True
        type_text(ann, "two\n")
        await ann.flush()
        assert await server.documents.save(ann.room_id) == "failed"
        contents.is_broken = False
        await until(lambda: contents.files["a.txt"][0] == "one\ntwo\n")
    finally:
        await server.stop()


async def test_a_notebook_of_twenty_megabytes_does_not_hold_up_the_loop(tmp_path):
    disk = Disk(contents_at(tmp_path))
    large = notebook(*["plot()"] * 500)
    for cell in large["cells"]:
        image = {"image/png": "A" * 40_000}
        cell["outputs"] = [{"output_type": "display_data", "data": image, "metadata": {}}]
    (tmp_path / "a.ipynb").write_text(json.dumps(large))
    loop_before_s, all_before_s = time.thread_time(), time.process_time()

    found = await disk.read(NOTEBOOK, "a.ipynb")
    found.content["cells"][0]["source"] = "plot(2)"
    await disk.write(NOTEBOOK, "a.ipynb", found.content, found.seen, yes)

    loop_s, all_s = time.thread_time() - loop_before_s, time.process_time() - all_before_s
    print(f"processor time: {all_s:.3f} s, of the loop {loop_s:.3f} s")
    assert loop_s < all_s / 10
