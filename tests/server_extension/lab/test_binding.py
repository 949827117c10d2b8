"""A document and its file: seeded once, saved, watched, merged."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json

import pytest
from collabkernel_server.lab.file_errors import FileGoneError, UnreadableFileError
from jupyter_ydoc.ybasedoc import YBaseDoc
from pycrdt import Text

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


def unread(path):
    """What of a file's status no reading changes."""
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def sha(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def test_a_file_is_read_and_opening_it_writes_nothing(server, root):
    file = root / "a.txt"
    file.write_text("one\n")
    before = unread(file)

    held = await server.open("a.txt")
    ann = await server.person(held)
    ann.document.ystate["document_id"] = ann.room_id
    await ann.flush()

    assert text_of(ann) == "one\n"
    assert ann.document.ystate.to_py() == {
        "path": "a.txt",
        "hash": sha(file),
        "dirty": False,
        "document_id": ann.room_id,
    }
    await until(lambda: server.documents.loaded(ann.room_id).is_saved)
    assert unread(file) == before


async def test_nothing_on_the_server_holds_what_was_deleted(server, root):
    (root / "a.txt").write_text("one\n")
    held = await server.open("a.txt")
    ann = await server.person(held)
    await held.client.synced()

    type_text(ann, "two\n")
    del ann.ydoc.get("source", type=Text)[:]
    await ann.flush()
    await until(lambda: text_of(held.client) == "")

    # An undo manager that could undo a delete keeps what was deleted, for as long as the document is open.
    views = [each for each in gc.get_objects() if isinstance(each, YBaseDoc) and each.ydoc is held.client.ydoc]
    assert [view.undo_manager.can_undo() for view in views] == [False, False]


async def test_what_is_typed_is_saved_and_told(server, root):
    file = root / "a.txt"
    file.write_text("one\n")
    ann = await server.person(await server.open("a.txt"))

    type_text(ann, "two\n")
    ann.document.dirty = True

    await until(lambda: file.read_text() == "one\ntwo\n")
    await until(lambda: ann.document.hash == sha(file) and ann.document.dirty is False)
    assert [found.name for found in root.iterdir() if found.name.startswith(".~")] == []


async def test_dirty_alone_leads_to_a_save_that_clears_it(server, root):
    (root / "a.txt").write_text("one\n")
    ann = await server.person(await server.open("a.txt"))

    ann.document.dirty = True

    await until(lambda: ann.document.dirty is False)


async def test_a_notebook_is_saved_cell_by_cell_and_known_by_its_hash(server, root):
    file = root / "a.ipynb"
    file.write_text(json.dumps(notebook("x = 1", "y = 2")))
    ann = await server.person(await server.open("a.ipynb", "json:notebook"))

    type_in_cell(ann, 0, "0")

    await until(lambda: sources_of(file) == ["x = 10", "y = 2"])
    await until(lambda: ann.document.hash == sha(file))
    model = await server.contents.get("a.ipynb", content=False, require_hash=True)
    assert model["hash"] == ann.document.hash


async def test_who_asks_is_saved_at_once_and_answered(server, root):
    file = root / "a.txt"
    file.write_text("")
    held = await server.open("a.txt")
    ann = await server.person(held)
    type_text(ann, "typed")
    await ann.flush()

    assert await server.documents.save(ann.room_id) == "success"
    assert file.read_text() == "typed"


async def test_f11_an_outside_change_while_somebody_types_keeps_both(server, root):
    file = root / "a.txt"
    file.write_text("one\ntwo\nthree\n")
    ann = await server.person(await server.open("a.txt"))
    type_text(ann, "typed\n", 0)

    file.write_text("one\ntwo\nthree\nfrom outside\n")
    while "from outside" not in text_of(ann):
        type_text(ann, "x", 0)
        await asyncio.sleep(0.01)

    text = text_of(ann)
    assert text.endswith("typed\none\ntwo\nthree\nfrom outside\n")
    await until(lambda: file.read_text() == text_of(ann))


async def test_an_outside_change_of_a_notebook_keeps_what_others_typed(server, root):
    file = root / "a.ipynb"
    file.write_text(json.dumps(notebook("x = 1", "y = 2")))
    ann = await server.person(await server.open("a.ipynb", "json:notebook"))
    type_in_cell(ann, 1, "  # typed")
    await ann.flush()

    changed = notebook("x = 1\nz = 3", "y = 2", "new")
    file.write_text(json.dumps(changed))

    expected = ["x = 1\nz = 3", "y = 2  # typed", "new"]
    await until(lambda: sources_of(file) == expected)
    await until(lambda: [str(cell["source"]) for cell in ann.document.ycells] == expected)


async def test_a_file_that_was_changed_outside_and_merged_is_left_alone(server, root):
    file = root / "a.ipynb"
    file.write_text(json.dumps(notebook("x = 1")))
    ann = await server.person(await server.open("a.ipynb", "json:notebook"))

    file.write_text(json.dumps(notebook("x = 2")))
    before = unread(file)

    await until(lambda: ann.document.hash == sha(file))
    assert str(ann.document.ycells[0]["source"]) == "x = 2"
    await until(lambda: server.documents.loaded(ann.room_id).is_saved)
    assert unread(file) == before


async def test_a_rename_while_it_is_open_is_followed(server, root):
    (root / "a.txt").write_text("one\n")
    ann = await server.person(await server.open("a.txt"))

    await server.contents.rename("a.txt", "b.txt")

    await until(lambda: ann.document.path == "b.txt")
    type_text(ann, "two\n")
    await until(lambda: (root / "b.txt").read_text() == "one\ntwo\n")
    assert not (root / "a.txt").exists()


async def test_a_directory_that_moves_takes_its_documents_along(server, root):
    (root / "dir").mkdir()
    (root / "dir" / "a.txt").write_text("one\n")
    ann = await server.person(await server.open("dir/a.txt"))

    await server.contents.rename("dir", "new")
    type_text(ann, "two\n")

    await until(lambda: (root / "new" / "a.txt").read_text() == "one\ntwo\n")
    assert not (root / "dir").exists()


async def test_a_deleted_file_leaves_the_document_and_is_saved_when_it_comes_back(server, root):
    file = root / "a.txt"
    file.write_text("one\n")
    ann = await server.person(await server.open("a.txt"))

    await server.contents.delete("a.txt")
    type_text(ann, "two\n")
    await ann.flush()

    assert await server.documents.save(ann.room_id) == "failed"
    assert not file.exists()
    assert text_of(ann) == "one\ntwo\n"
    file.write_text("one\n")
    await until(lambda: file.read_text() == "one\ntwo\n")


async def test_a_file_taken_away_behind_our_back_comes_back_as_the_same_document(server, root):
    file = root / "a.txt"
    file.write_text("one\n")
    ann = await server.person(await server.open("a.txt"))
    file.unlink()
    await until(lambda: server.documents.loaded(ann.room_id).is_gone)
    type_text(ann, "two\n")

    file.write_text("zero\none\n")

    await until(lambda: file.read_text() == "zero\none\ntwo\n")


async def test_a_known_document_is_never_read_again_from_its_file(server, root, tmp_path):
    file = root / "a.txt"
    file.write_text("one\n")
    held = await server.open("a.txt")
    room_id = held.client.room_id
    held.release()
    await until(lambda: server.documents.loaded(room_id) is None)
    await server.stop()
    file.write_text("zero\none\n")

    again = await Server(tmp_path / "db.sqlite", contents_at(root)).start()
    try:
        held = await again.documents.open(room_id)
        assert text_of(held.client) == "zero\none\n"
        assert len(held.client.ydoc.get_update()) < 300, "merged, not made anew"
    finally:
        await again.stop()


async def test_line_endings_are_kept(server, root):
    file = root / "a.txt"
    file.write_bytes(b"one\r\ntwo\r\nno newline")
    ann = await server.person(await server.open("a.txt"))
    assert text_of(ann) == "one\ntwo\nno newline"

    type_text(ann, "0\n", 0)
    await until(lambda: file.read_bytes() == b"0\r\none\r\ntwo\r\nno newline")

    file.write_bytes(b"0\r\none\r\ntwo\r\nno newline!")
    await until(lambda: text_of(ann) == "0\none\ntwo\nno newline!")


async def test_what_is_no_text_is_refused_and_not_damaged(server, root):
    (root / "latin.txt").write_bytes(b"caf\xe9")
    (root / "bad.ipynb").write_text("{")

    with pytest.raises(UnreadableFileError, match="UTF-8"):
        await server.open("latin.txt")
    with pytest.raises(UnreadableFileError, match="notebook"):
        await server.open("bad.ipynb", "json:notebook")
    with pytest.raises(FileGoneError):
        await server.open("nothing.txt")
    assert (root / "latin.txt").read_bytes() == b"caf\xe9"


async def test_a_file_that_became_unreadable_is_not_overwritten(server, root):
    file = root / "a.txt"
    file.write_text("one\n")
    ann = await server.person(await server.open("a.txt"))
    file.write_bytes(b"caf\xe9")
    type_text(ann, "two\n")
    await ann.flush()

    assert await server.documents.save(ann.room_id) == "failed"

    assert file.read_bytes() == b"caf\xe9"
    file.write_text("one\nthree\n")
    await until(lambda: file.read_text() == "one\ntwo\nthree\n")


async def test_two_views_of_one_file_are_kept_the_same(server, root):
    file = root / "a.ipynb"
    file.write_text(json.dumps(notebook("x = 1"), indent=1))
    as_notebook = await server.person(await server.open("a.ipynb", "json:notebook"))
    as_text = await server.person(await server.open("a.ipynb", "text:file"), "bob")

    type_in_cell(as_notebook, 0, "0")
    await until(lambda: "x = 10" in text_of(as_text))
    text = text_of(as_text)
    type_text(as_text, "y", text.index("x = 10"))

    await until(lambda: str(as_notebook.document.ycells[0]["source"]) == "yx = 10")
    await until(lambda: sources_of(file) == ["yx = 10"])


async def test_without_autosave_only_who_asks_is_saved(server, root):
    file = root / "a.txt"
    file.write_text("one\n")
    (root / "b.txt").write_text("")
    held, other = await server.open("a.txt"), await server.open("b.txt")
    await server.show(held, {"autosave": False})
    await until(lambda: [shown["autosave"] for shown in held.client.awareness_states().values()] == [False])
    ann = await server.person(held)
    type_text(ann, "two\n")
    await ann.flush()
    type_text(await server.person(other), "saved\n")
    await until(lambda: (root / "b.txt").read_text() == "saved\n")

    await until(lambda: not server.documents.loaded(ann.room_id).is_saved)
    assert file.read_text() == "one\n"
    assert await server.documents.save(ann.room_id) == "success"
    assert file.read_text() == "one\ntwo\n"


async def test_a_rename_in_the_middle_of_a_save_is_followed(server, root):
    (root / "a.txt").write_text("one\n")
    ann = await server.person(await server.open("a.txt"))
    intend = server.storage.intend_save

    async def renamed_meanwhile(*arguments, **named):
        if (root / "a.txt").exists():
            await server.contents.rename("a.txt", "b.txt")
        return await intend(*arguments, **named)

    server.storage.intend_save = renamed_meanwhile
    type_text(ann, "two\n")
    await ann.flush()

    assert await server.documents.save(ann.room_id) == "success"
    assert (root / "b.txt").read_text() == "one\ntwo\n"
    assert sorted(found.name for found in root.iterdir() if found.is_file()) == ["b.txt"]
    await until(lambda: ann.document.path == "b.txt")


async def test_somebody_elses_lease_lets_nothing_be_written(server, root):
    file = root / "a.txt"
    file.write_text("one\n")
    ann = await server.person(await server.open("a.txt"))
    file_id = ann.room_id.rsplit(":", 1)[1]
    lease = await server.storage.acquire_lease(f"file:{file_id}", "another server", 60_000)
    type_text(ann, "two\n")
    await ann.flush()

    assert await server.documents.save(ann.room_id) == "failed"
    assert file.read_text() == "one\n"

    await server.storage.release_lease(lease)
    await until(lambda: file.read_text() == "one\ntwo\n")


async def test_a_save_whose_lease_was_lost_is_not_put_in_place(server, root):
    file = root / "a.txt"
    file.write_text("one\n")
    ann = await server.person(await server.open("a.txt"))
    intend = server.storage.intend_save

    async def late(file_id, lease, **named):
        server.storage.intend_save = intend
        await server.storage.release_lease(lease)  # as when it expires, and another server takes it
        return await intend(file_id, lease, **named)

    server.storage.intend_save = late
    type_text(ann, "two\n")
    await ann.flush()

    assert await server.documents.save(ann.room_id) == "failed"
    assert file.read_text() == "one\n"
    await until(lambda: file.read_text() == "one\ntwo\n")


async def test_a_program_that_read_the_file_before_a_save_deletes_nothing(server, root):
    file = root / "a.txt"
    file.write_text("one\n")
    ann = await server.person(await server.open("a.txt"))
    read = file.read_text()
    type_text(ann, "typed\nand more\n")
    await until(lambda: file.read_text() == "one\ntyped\nand more\n")

    file.write_text(f"zero\n{read}")

    merged = "zero\none\ntyped\nand more\n"
    await until(lambda: file.read_text() == merged)
    await until(lambda: text_of(ann) == merged)


@pytest.fixture
async def quick_to_rest(tmp_path, root):
    server = await Server(tmp_path / "db.sqlite", contents_at(root), rest_ms=20).start()
    yield server
    await server.stop()


async def test_a_document_that_nobody_edits_has_no_replica_and_is_saved_all_the_same(quick_to_rest, root):
    file = root / "a.txt"
    file.write_text("one\n")
    held = await quick_to_rest.open("a.txt")
    opened = quick_to_rest.documents.loaded(held.client.room_id)
    assert held.client.is_awake
    other = await quick_to_rest.documents.open(held.client.room_id)
    held.release()
    await until(lambda: not opened.client.is_awake)

    ann = await quick_to_rest.person(other)
    before = unread(file)
    ann.document.ystate["document_id"] = ann.room_id
    await ann.flush()
    await opened.client.take_in()
    assert not opened.is_saved, "until it has looked"
    await until(lambda: opened.is_saved and not opened.client.is_awake)
    assert unread(file) == before, "a page that opens it writes nothing"

    type_text(ann, "two\n")
    await until(lambda: file.read_text() == "one\ntwo\n" and ann.document.hash == sha(file))
    await until(lambda: opened.is_saved and not opened.client.is_awake and ann.document.dirty is False)
    assert ann.document.ystate.to_py() | {"document_id": ""} == {
        "path": "a.txt",
        "hash": sha(file),
        "dirty": False,
        "document_id": "",
    }


async def test_what_is_edited_while_its_replica_rests_is_saved_when_it_closes(quick_to_rest, root):
    (root / "a.txt").write_text("one\n")
    file_id, _ = await quick_to_rest.documents.ids.index("a.txt")
    held = await quick_to_rest.documents.open(f"text:file:{file_id}")
    assert not held.client.is_awake
    ann = await quick_to_rest.person(held)

    type_text(ann, "two\n")
    await ann.flush()
    held.release()
    await quick_to_rest.stop()

    assert (root / "a.txt").read_text() == "one\ntwo\n"
