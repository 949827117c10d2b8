"""Long documents that are loaded where one looks, on both faces and on a real server."""

from __future__ import annotations

import threading

import pytest

import collabkernel as ck
from collabkernel.client.blocking_room import BlockingRoom
from collabkernel.errors import ClosedError, LocalProtocolError, NotLoadedError
from tests.bounds import HANG_S
from tests.client.waiting import wait_for
from tests.server_extension.running_server import RunningServer

PARAGRAPHS = 600


def write_book(room: BlockingRoom) -> None:
    doc = room.doc("body")
    for start in range(0, PARAGRAPHS, 200):
        doc.append("\n\n".join(f"paragraph {i}" for i in range(start, start + 200)))
    room.flush()


def test_a_script_shows_what_it_reads():
    with ck.connect("show-book", url="memory://", name="ann") as ann:
        write_book(ann)
        with ck.connect("show-book", url="memory://", lazy=True) as room:
            doc = room.doc("body")
            assert (len(doc), doc[300].is_loaded) == (PARAGRAPHS, False)

            doc.show(doc[300], around=10)
            assert [block.text for block in doc[290:311]] == [f"paragraph {i}" for i in range(290, 311)]
            assert not doc[0].is_loaded
            doc[300].text = "changed"
            wait_for(ann, lambda: ann.doc("body")[300].text == "changed")
            made = doc.insert("new", after=doc[0])[0]
            room.flush()
            assert made.text == "new"

            doc.show_all()
            wait_for(ann, lambda: len(ann.doc("body")) == PARAGRAPHS + 1)
            assert doc.markdown() == ann.doc("body").markdown()


def test_it_cannot_wait_in_a_batch_nor_when_it_is_closed():
    with ck.connect("show-batch", url="memory://", lazy=True) as room:
        doc = room.doc("body")
        doc.append("one")
        with pytest.raises(LocalProtocolError, match="batch"), room.batch():
            doc.show(doc[0])
    doc.scroll_to(doc[0])
    with pytest.raises(ClosedError):
        doc.show_all()


def test_observers_are_told_when_what_is_scrolled_to_is_here():
    with ck.connect("show-scroll", url="memory://", name="ann") as ann:
        write_book(ann)
        with ck.connect("show-scroll", url="memory://", lazy=True) as room:
            doc, loaded = room.doc("body"), threading.Event()
            last = doc[-1]
            doc.observe(lambda change: loaded.set() if change.type == "load" and change.owner == last else None)

            doc.scroll_to(doc[0])
            doc.scroll_to(last)

            assert loaded.wait(HANG_S)
            assert last.text == f"paragraph {PARAGRAPHS - 1}"


@pytest.mark.anyio
async def test_in_an_aio_room_it_is_awaited():
    async with ck.aio.connect("show-aio", url="memory://") as ann:
        doc = ann.doc("body")
        doc.append("\n\n".join(f"paragraph {i}" for i in range(PARAGRAPHS)))
        await ann.flush()
        async with ck.aio.connect("show-aio", url="memory://", lazy=True) as room:
            lazy = room.doc("body")
            with pytest.raises(NotLoadedError):
                lazy.markdown()
            await lazy.show(lazy[:30])
            assert lazy[29].text == "paragraph 29"
            await lazy.show_all()
            assert lazy.markdown() == doc.markdown()


def test_on_a_real_server_it_goes_on_after_a_line_that_broke(jupyter: RunningServer):
    address = {"url": jupyter.base_url, "token": jupyter.kernel_token}
    with ck.connect("show-real", **address) as ann:
        write_book(ann)
        with ck.connect("show-real", lazy=True, **address) as room:
            doc = room.doc("body")
            doc.show(doc[10])
            assert doc[10].text == "paragraph 10"
            ann.doc("body")[10].text = "changed"
            wait_for(room, lambda: doc[10].text == "changed")
            doc.show_all()
            assert doc.text == ann.doc("body").text
            doc.show(doc[-1])
            ann.doc("body")[-1].text = "the end"
            wait_for(room, lambda: doc[-1].text == "the end")
