"""File ids follow what is done through the contents manager."""

from __future__ import annotations

import pytest
from collabkernel_server.lab.disk import Disk
from collabkernel_server.lab.file_errors import FileGoneError
from collabkernel_server.lab.files import FileIds

from collabkernel.storage.memory import MemoryStorage
from tests.server_extension.lab.file_world import contents_at

pytestmark = pytest.mark.anyio


@pytest.fixture
async def ids(tmp_path):
    storage = MemoryStorage()
    await storage.open()
    contents = contents_at(tmp_path)
    ids = FileIds(storage, contents, Disk(contents), lambda: 1)
    ids.follow()
    yield ids
    ids.stop()
    await storage.close()


async def told(ids):
    """What the contents manager emitted was heard."""
    await ids.contents.event_logger.gather_listeners()


async def test_a_file_keeps_its_id_when_it_or_its_directory_is_renamed(ids, tmp_path):
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "a.txt").write_text("")
    changed = []
    ids.on_changed.append(changed.append)

    file_id, is_new = await ids.index("/dir/a.txt")
    assert is_new
    assert await ids.index("dir/a.txt") == (file_id, False)
    await ids.contents.rename("dir/a.txt", "dir/b.txt")
    await told(ids)
    await ids.contents.rename("dir", "new")
    await told(ids)

    assert await ids.path_of(file_id) == "new/b.txt"
    assert await ids.id_of("new/b.txt") == file_id
    assert await ids.id_of("dir/a.txt") is None
    assert changed == [[file_id], [file_id]]


async def test_a_deleted_file_is_another_when_somebody_makes_it_again(ids, tmp_path):
    (tmp_path / "a.txt").write_text("")
    file_id, _ = await ids.index("a.txt")

    await ids.contents.delete("a.txt")
    await told(ids)
    assert await ids.path_of(file_id) is None
    (tmp_path / "a.txt").write_text("")

    again, is_new = await ids.index("a.txt")
    assert is_new
    assert again != file_id
    assert not await ids.restore(file_id)


async def test_a_copy_is_another_file(ids, tmp_path):
    (tmp_path / "a.txt").write_text("")
    file_id, _ = await ids.index("a.txt")

    copied = await ids.contents.copy("a.txt")
    await told(ids)

    assert (await ids.index(copied["path"]))[0] != file_id
    assert await ids.path_of(file_id) == "a.txt"


@pytest.mark.parametrize("path", ["nothing.txt", "", "../outside.txt", "a\0b", "dir", ".hidden", "dir/.hidden"])
async def test_what_is_no_file_gets_no_id(ids, tmp_path, path):
    (tmp_path / "dir").mkdir()
    (tmp_path / ".hidden").write_text("")
    (tmp_path / "dir" / ".hidden").write_text("")

    with pytest.raises(FileGoneError):
        await ids.index(path)
    assert await ids.id_of(path) is None


@pytest.mark.parametrize("path", ["./a.txt", "dir/../a.txt", "dir//../a.txt", "../{root}/a.txt"])
async def test_a_file_has_one_path(ids, tmp_path, path):
    """Each way to write it was a document of its own, and there is no end of ways."""
    (tmp_path / "dir").mkdir()
    (tmp_path / "a.txt").write_text("")

    with pytest.raises(FileGoneError):
        await ids.index(path.format(root=tmp_path.name))
