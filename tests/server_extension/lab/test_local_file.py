"""Local files: what is read is what the contents manager would give, and a write is all or nothing."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import threading
import time

import pytest
from collabkernel_server.lab.disk import Disk, DiskFile
from collabkernel_server.lab.file_errors import FileChangedError, FileGoneError, SaveFailedError
from collabkernel_server.lab.local_file import LocalFiles, is_stock
from collabkernel_server.lab.names import DocumentName
from jupyter_server.services.contents.filemanager import AsyncFileContentsManager, FileContentsManager
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager, LargeFileManager
from tornado.web import HTTPError

from tests.server_extension.lab.file_world import contents_at, notebook

pytestmark = pytest.mark.anyio
TEXT = DocumentName("text", "file", "1")
NOTEBOOK = DocumentName("json", "notebook", "1")
STOCK = [AsyncLargeFileManager, LargeFileManager, AsyncFileContentsManager, FileContentsManager]


class OwnWay(AsyncLargeFileManager):
    """A manager with a way of its own to save."""

    async def save(self, model, path=""):
        return await super().save(model, path)


async def yes(*_):
    return True


async def written(disk, found: DiskFile, content, name=TEXT, path="a.txt", guard=yes):
    return await disk.write(name, path, content, found.seen, guard)


def full(_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_managers_with_ways_of_their_own_are_not_passed_by(tmp_path):
    assert all(is_stock(contents_at(tmp_path, manager)) for manager in STOCK)
    assert not is_stock(contents_at(tmp_path, OwnWay))


@pytest.mark.parametrize("manager", STOCK)
async def test_a_notebook_is_read_and_written_as_the_manager_would(tmp_path, manager):
    contents = contents_at(tmp_path, manager)
    disk = Disk(contents)
    file = tmp_path / "a.ipynb"
    file.write_text(json.dumps(notebook("x = 1")))
    found = await disk.read(NOTEBOOK, "a.ipynb")
    content = {**found.content, "cells": [{**found.content["cells"][0], "source": "x = 2"}]}

    done = await written(disk, found, content, NOTEBOOK, "a.ipynb")

    by_us = file.read_bytes()
    model = FileContentsManager(root_dir=str(tmp_path)).get("a.ipynb", require_hash=True)
    assert done.seen.hash == model["hash"]
    assert model["content"]["cells"][0]["source"] == "x = 2"
    other = FileContentsManager(root_dir=str(tmp_path))
    other.save({"type": "notebook", "format": "json", "content": content}, "b.ipynb")
    assert (tmp_path / "b.ipynb").read_bytes() == by_us
    assert (tmp_path / ".ipynb_checkpoints").exists()


async def test_a_write_keeps_the_mode_and_leaves_nothing_beside(tmp_path):
    disk, file = Disk(contents_at(tmp_path)), tmp_path / "a.txt"
    file.write_text("one")
    file.chmod(0o640)

    await written(disk, await disk.read(TEXT, "a.txt"), "two")

    assert file.read_text() == "two"
    assert file.stat().st_mode & 0o777 == 0o640
    assert sorted(found.name for found in tmp_path.iterdir()) == ["a.txt"]


async def test_a_full_disk_leaves_nothing_beside(tmp_path, monkeypatch):
    disk, file = Disk(contents_at(tmp_path)), tmp_path / "a.txt"
    file.write_text("one")
    found = await disk.read(TEXT, "a.txt")
    monkeypatch.setattr(os, "fsync", full)

    for _ in range(2):
        with pytest.raises(SaveFailedError, match="No space left"):
            await written(disk, found, "two")

    assert file.read_text() == "one"
    assert sorted(found.name for found in tmp_path.iterdir()) == ["a.txt"]


async def test_links_stay_links(tmp_path):
    disk, file = Disk(contents_at(tmp_path)), tmp_path / "a.txt"
    (tmp_path / "target.txt").write_text("one")
    file.symlink_to(tmp_path / "target.txt")
    os.link(tmp_path / "target.txt", tmp_path / "hard.txt")

    await written(disk, await disk.read(TEXT, "a.txt"), "two")

    assert file.is_symlink()
    assert (tmp_path / "target.txt").read_text() == (tmp_path / "hard.txt").read_text() == "two"


async def test_a_write_in_place_is_marked_before_and_known_when_it_was_cut_short(tmp_path, monkeypatch):
    disk, file = Disk(contents_at(tmp_path)), tmp_path / "a.txt"
    file.write_text("one")
    marks = []

    async def asked(_, mark):
        marks.append(mark)
        return True

    await written(disk, await disk.read(TEXT, "a.txt"), "two", guard=asked)
    os.link(file, tmp_path / "hard.txt")
    found = await disk.read(TEXT, "a.txt")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SaveFailedError):
        await written(disk, found, "three", guard=asked)

    assert marks[0] == ""
    assert await disk.torn("a.txt", marks[1]) is None, "it is whole"
    file.write_text("thr")
    torn = await disk.torn("a.txt", marks[1])
    assert (torn.stamp, torn.hash) == (await disk.stamp("a.txt"), (await disk.read(TEXT, "a.txt")).hash)
    file.write_text("own")
    assert await disk.torn("a.txt", marks[1]) is None


async def test_what_is_there_already_is_not_written(tmp_path):
    disk, file = Disk(contents_at(tmp_path)), tmp_path / "a.txt"
    file.write_text("one")
    before = file.stat()

    async def never(*_):
        raise AssertionError("nobody is asked")

    done = await written(disk, await disk.read(TEXT, "a.txt"), "one", guard=never)

    assert done is not None
    assert file.stat() == before


async def test_the_guard_is_asked_with_the_hash_and_can_stop_it(tmp_path):
    disk, file = Disk(contents_at(tmp_path)), tmp_path / "a.txt"
    file.write_text("one")
    asked = []

    async def no(file_hash, _):
        asked.append(file_hash)
        return False

    assert await written(disk, await disk.read(TEXT, "a.txt"), "two", guard=no) is None
    assert file.read_text() == "one"
    assert sorted(found.name for found in tmp_path.iterdir()) == ["a.txt"]
    done = await written(disk, await disk.read(TEXT, "a.txt"), "two")
    assert asked == [done.seen.hash]


async def test_a_file_that_somebody_wrote_meanwhile_is_not_overwritten(tmp_path):
    disk, file = Disk(contents_at(tmp_path)), tmp_path / "a.txt"
    file.write_text("one")
    found = await disk.read(TEXT, "a.txt")

    async def meanwhile(*_):
        file.write_text("theirs")
        return True

    with pytest.raises(FileChangedError):
        await written(disk, found, "two", guard=meanwhile)
    assert file.read_text() == "theirs"
    file.unlink()
    with pytest.raises(FileGoneError):
        await written(disk, found, "two")
    assert list(tmp_path.iterdir()) == []


async def test_nobody_has_his_turn_between_the_last_look_and_the_rename(tmp_path, monkeypatch):
    disk, file = Disk(contents_at(tmp_path)), tmp_path / "a.txt"
    file.write_text("one")
    found = await disk.read(TEXT, "a.txt")
    loop, replaced = asyncio.get_running_loop(), threading.Event()
    checked, replace = LocalFiles._checked, os.replace

    def others_turn():
        replaced.wait(1)
        file.write_text("theirs")

    def checked_and_overtaken(*arguments):
        mark = checked(*arguments)
        loop.call_soon_threadsafe(others_turn)
        return mark

    def replace_and_tell(*arguments):
        replace(*arguments)
        replaced.set()

    monkeypatch.setattr(LocalFiles, "_checked", checked_and_overtaken)
    monkeypatch.setattr(os, "replace", replace_and_tell)
    await written(disk, found, "two")

    assert file.read_text() == "theirs"


async def test_a_hook_may_change_what_is_written_or_refuse_it(tmp_path):
    contents = contents_at(tmp_path)
    disk, file = Disk(contents), tmp_path / "a.txt"
    file.write_text("one")

    def hook(model, **_):
        model["content"] += "!"

    contents.register_pre_save_hook(hook)
    saved = []
    contents.register_post_save_hook(lambda os_path, **_: saved.append(os_path))
    await written(disk, await disk.read(TEXT, "a.txt"), "two")
    assert file.read_text() == "two!"
    assert saved == [str(file)]

    def refuse(**_):
        raise HTTPError(400, "not this")

    contents.register_pre_save_hook(refuse)
    with pytest.raises(SaveFailedError, match="not this"):
        await written(disk, await disk.read(TEXT, "a.txt"), "three")


async def test_trust_goes_with_the_signature(tmp_path):
    contents = contents_at(tmp_path)
    disk, file = Disk(contents), tmp_path / "a.ipynb"
    model = notebook("show()")
    model["cells"][0]["outputs"] = [
        {"output_type": "display_data", "data": {"text/html": "<b>"}, "metadata": {}},
    ]
    file.write_text(json.dumps(model))
    found = await disk.read(NOTEBOOK, "a.ipynb")
    assert found.content["cells"][0]["metadata"]["trusted"] is False

    found.content["cells"][0]["metadata"]["trusted"] = True
    await written(disk, found, found.content, NOTEBOOK, "a.ipynb")

    assert (await disk.read(NOTEBOOK, "a.ipynb")).content["cells"][0]["metadata"]["trusted"] is True
    assert "trusted" not in file.read_text()


async def test_stamps_tell_of_every_change(tmp_path):
    disk, file = Disk(contents_at(tmp_path)), tmp_path / "a.txt"
    file.write_text("one")
    first = await disk.stamp("a.txt")
    times = file.stat()
    (tmp_path / "new").write_text("two")
    os.utime(tmp_path / "new", ns=(times.st_atime_ns, times.st_mtime_ns))
    os.replace(tmp_path / "new", file)

    assert (await disk.stamp("a.txt")).mark != first.mark
    assert await disk.stamps(["a.txt", "no.txt", "../x"]) == {
        "a.txt": await disk.stamp("a.txt"),
        "no.txt": None,
        "../x": None,
    }


async def test_what_a_crash_left_beside_a_file_is_taken_away_and_nothing_else(tmp_path):
    disk, file = Disk(contents_at(tmp_path)), tmp_path / "a.txt"
    file.write_text("one")
    for name, age_s in ((".~a.txt.0123abcd", 7200), (".~a.txt.4567abcd", 0), (".~a.txt.backup99", 7200)):
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)

    await written(disk, await disk.read(TEXT, "a.txt"), "two")

    assert sorted(found.name for found in tmp_path.iterdir()) == [".~a.txt.4567abcd", ".~a.txt.backup99", "a.txt"]
