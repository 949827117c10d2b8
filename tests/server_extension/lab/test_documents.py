"""Documents by id: opened once, left after a while, saved at the end, after a crash, and by several servers."""

from __future__ import annotations

import asyncio

import pytest
from collabkernel_server.lab.binding import FileBinding
from collabkernel_server.lab.file_errors import DocumentUnknownError
from collabkernel_server.lab.saver import SavePauses
from pycrdt import Doc, Text

from collabkernel.errors import ServerStoppingError, StorageError
from tests.bounds import HANG_S
from tests.server_extension.lab.file_world import Server, contents_at, text_of, type_text, until

pytestmark = pytest.mark.anyio
NEVER = SavePauses(debounce_ms=10**9, longest_ms=10**9)


@pytest.fixture
async def start(tmp_path, root):
    servers = []

    async def started(**options):
        servers.append(await Server(tmp_path / "db.sqlite", contents_at(root), **options).start())
        return servers[-1]

    yield started
    for server in servers:
        await server.stop()


async def test_a_document_is_opened_once_and_leaves_memory_after_its_last_holder(start, root):
    (root / "a.txt").write_text("one\n")
    server = await start()
    file_id, _ = await server.documents.ids.index("a.txt")
    room_id = f"text:file:{file_id}"

    first, second = await asyncio.gather(*[server.documents.open(room_id) for _ in range(2)])

    assert first.client is second.client
    first.release()
    first.release()
    assert server.documents.loaded(room_id) is not None
    second.release()
    await until(lambda: server.documents.loaded(room_id) is None)
    assert text_of((await server.documents.open(room_id)).client) == "one\n"


async def test_a_document_whose_last_save_hangs_keeps_no_other_from_opening(start, root, monkeypatch):
    (root / "a.txt").write_text("one\n")
    (root / "b.txt").write_text("two\n")
    server = await start()
    held = await server.open("a.txt")
    closing, may_close = asyncio.Event(), asyncio.Event()
    close = FileBinding.close

    async def hangs(self):
        closing.set()
        await may_close.wait()
        await close(self)

    monkeypatch.setattr(FileBinding, "close", hangs)
    held.release()
    await asyncio.wait_for(closing.wait(), HANG_S)
    again = asyncio.create_task(server.open("a.txt"))
    try:
        other = await asyncio.wait_for(server.open("b.txt"), HANG_S)
        assert text_of(other.client) == "two\n"
        assert not again.done(), "its last save is waited for"
    finally:
        may_close.set()
    assert text_of((await again).client) == "one\n"


@pytest.mark.parametrize("room_id", ["nonsense", "text:file:nobody", "JupyterLab:globalAwareness"])
async def test_what_is_no_document_is_unknown(start, room_id):
    server = await start()

    with pytest.raises(DocumentUnknownError):
        await server.documents.open(room_id)


async def test_a_stop_saves_what_is_not_saved(start, root):
    (root / "a.txt").write_text("one\n")
    server = await start(pauses=NEVER)
    ann = await server.person(await server.open("a.txt"))
    type_text(ann, "two\n")
    await ann.flush()
    await until(lambda: not server.documents.loaded(ann.room_id).is_saved)

    await asyncio.wait_for(server.documents.stop(), HANG_S)

    assert (root / "a.txt").read_text() == "one\ntwo\n"
    with pytest.raises(ServerStoppingError):
        await server.documents.open(ann.room_id)


async def test_f3_what_was_acknowledged_before_a_kill_is_in_the_file_after_the_restart(start, root):
    file = root / "a.txt"
    file.write_text("one\n")
    server = await start(pauses=NEVER)
    ann = await server.person(await server.open("a.txt"))
    for word in range(30):
        type_text(ann, f"{word} ")
    await ann.flush()
    await server.kill()
    assert file.read_text() == "one\n"

    again = await start()
    assert await again.documents.recover() == 1

    await until(lambda: file.read_text() == "one\n" + "".join(f"{word} " for word in range(30)))
    assert await again.documents.recover() == 0


async def test_one_edit_of_a_file_that_was_just_opened_is_saved_after_a_kill(start, root):
    (root / "a.txt").write_text("one\n")
    server = await start(pauses=NEVER)
    ann = await server.person(await server.open("a.txt"))
    type_text(ann, "two\n")
    await ann.flush()
    await server.kill()

    again = await start()
    assert await again.documents.recover() == 1

    assert (root / "a.txt").read_text() == "one\ntwo\n"


async def test_one_document_that_fails_keeps_no_other_from_being_saved(start, root, monkeypatch):
    server = await start(pauses=NEVER)
    for name in ("a.txt", "b.txt", "c.txt"):
        (root / name).write_text("one\n")
        ann = await server.person(await server.open(name))
        type_text(ann, "two\n")
        await ann.flush()
    await server.kill()

    again = await start()
    opened, failed = FileBinding.open, []

    async def first_fails(self):
        if not failed:
            failed.append(self.name.room_id)
            raise RuntimeError("a fault")
        await opened(self)

    monkeypatch.setattr(FileBinding, "open", first_fails)
    assert await again.documents.recover() == 3

    assert [(root / name).read_text() for name in ("a.txt", "b.txt", "c.txt")].count("one\ntwo\n") == 2
    assert again.documents.loaded(failed[0]) is None


async def test_a_save_by_hand_is_a_version_of_the_timeline(start, root):
    (root / "a.txt").write_text("one\n")
    server = await start(pauses=NEVER)
    ann = await server.person(await server.open("a.txt"))
    type_text(ann, "two")
    await ann.flush()
    assert await server.documents.save(ann.room_id) == "success"
    type_text(ann, " three")
    await ann.flush()

    (version,) = await server.storage.versions(ann.room_id)

    assert not version.name
    doc = Doc()
    doc.apply_update(await server.storage.version_state(ann.room_id, version.seq))
    assert str(doc.get("source", type=Text)) == "one\ntwo"


async def test_a_save_that_a_kill_cut_from_its_record_is_known_as_ours(start, root):
    file = root / "a.txt"
    file.write_text("one\n")
    server = await start(pauses=NEVER)
    ann = await server.person(await server.open("a.txt"))
    type_text(ann, "two")
    await ann.flush()

    async def killed(*_, **__):
        raise StorageError("killed")

    server.storage.record_save = killed
    assert await server.documents.save(ann.room_id) == "failed"
    assert file.read_text() == "one\ntwo"
    type_text(ann, " and a half")
    await ann.flush()
    await server.kill()

    again = await start()
    held = await again.documents.open(ann.room_id)
    await until(lambda: file.read_text() == "one\ntwo and a half")
    assert text_of(held.client) == "one\ntwo and a half"


async def test_f4_two_servers_on_one_directory_keep_all_edits(start, root):
    file = root / "a.txt"
    file.write_text("begin\n")
    one, two = await start(is_alone=False), await start(is_alone=False)
    held = [await server.open("a.txt") for server in (one, two)]
    assert held[0].client.room_id == held[1].client.room_id
    people = [await one.person(held[0], "ann"), await two.person(held[1], "bob")]
    expected = [f"{name}{i}" for name in ("ann", "bob") for i in range(40)]

    for i in range(40):
        for name, client in zip(("ann", "bob"), people, strict=True):
            type_text(client, f"{name}{i}\n")
            await client.flush()

    await until(lambda: sorted(file.read_text().split()) == sorted([*expected, "begin"]))
    for client in [*people, *[found.client for found in held]]:
        await until(lambda client=client: sorted(text_of(client).split()) == sorted([*expected, "begin"]))
    assert text_of(people[0]) == text_of(people[1]) == file.read_text()


async def test_two_servers_take_an_outside_change_over_once(start, root):
    file = root / "a.txt"
    file.write_text("one\n")
    servers = [await start(is_alone=False) for _ in range(2)]
    people = [await server.person(await server.open("a.txt"), f"p{i}") for i, server in enumerate(servers)]

    file.write_text("one\nfrom outside\n")

    for client in people:
        await until(lambda client=client: text_of(client) == "one\nfrom outside\n")
    for server, client in zip(servers, people, strict=True):
        await until(lambda server=server, client=client: server.documents.loaded(client.room_id).is_saved)
    assert file.read_text() == "one\nfrom outside\n"


async def test_two_servers_that_open_a_file_at_once_read_it_once(start, root):
    (root / "a.txt").write_text("one\n")
    servers = [await start(is_alone=False) for _ in range(2)]

    held = await asyncio.gather(*[server.open("a.txt") for server in servers])

    assert [text_of(found.client) for found in held] == ["one\n", "one\n"]


async def test_a_document_whose_file_was_deleted_takes_no_other_for_it(start, root):
    """What somebody wrote into a new file of that name came into the old document, too."""
    (root / "a.txt").write_text("one\n")
    server = await start()
    old = await server.open("a.txt")
    await server.contents.delete("a.txt")
    await server.contents.event_logger.gather_listeners()
    await server.storage.file_by_path("a.txt", create=True, now_ms=1)  # before the old document takes it for its own
    (root / "a.txt").write_text("another\n")
    new = await server.open("a.txt")
    type_text(old.client, "typed\n")
    await old.client.flush()

    assert await server.documents.save(old.client.room_id) == "failed"
    assert text_of(old.client) == "one\ntyped\n"
    assert text_of(new.client) == "another\n"
    assert (root / "a.txt").read_text() == "another\n"


async def test_a_rename_that_another_server_saw_is_followed_before_a_save(start, root):
    """Somebody's new file of the old name was merged, and written over."""
    (root / "a.txt").write_text("one\n")
    one, two = [await start(is_alone=False, pauses=NEVER, poll_s=HANG_S) for _ in range(2)]
    await one.open("a.txt")
    bob = await two.person(await two.open("a.txt"), "bob")
    await one.contents.rename("a.txt", "b.txt")
    await one.contents.event_logger.gather_listeners()
    (root / "a.txt").write_text("another\n")
    type_text(bob, "two\n")
    await bob.flush()

    assert await two.documents.save(bob.room_id) == "success"

    assert (root / "a.txt").read_text() == "another\n"
    assert (root / "b.txt").read_text() == text_of(bob) == "one\ntwo\n"
    await until(lambda: bob.document.path == "b.txt")


async def test_pages_know_the_hash_of_a_file_before_anybody_is_told_of_it(start, root):
    """At Ctrl+S JupyterLab holds the file's hash against the one that its page was sent."""
    file = root / "a.txt"
    file.write_text("one\n")
    server = await start(poll_s=HANG_S)
    ann = await server.person(await server.open("a.txt"))
    file.write_text("one\ntwo\n")

    async with server.documents.shown("a.txt", "ann"):
        await ann.synced()
        shown = ann.document.ystate.get("hash")

    assert text_of(ann) == "one\ntwo\n"
    assert shown == (await contents_at(root).get("a.txt", content=False, require_hash=True))["hash"]


async def test_nothing_saves_a_file_while_it_is_shown(start, root):
    file = root / "a.txt"
    file.write_text("one\n")
    server = await start(pauses=NEVER)
    ann = await server.person(await server.open("a.txt"))

    async with server.documents.shown("a.txt", "ann"):
        type_text(ann, "two\n")
        await ann.flush()
        saving = asyncio.create_task(server.documents.save(ann.room_id))
        async with server.documents.shown("none.txt", "ann"):
            await ann.synced()
        assert file.read_text() == "one\n"
        assert not saving.done()

    assert await asyncio.wait_for(saving, HANG_S) == "success"
    assert file.read_text() == "one\ntwo\n"
