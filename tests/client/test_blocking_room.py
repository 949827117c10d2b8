"""The blocking face: threads, callbacks, exit."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest

import collabkernel as ck
from collabkernel.client.blocking_room import LoopThread
from collabkernel.errors import ClosedError, InvalidValueError, LocalProtocolError
from tests.bounds import HANG_S
from tests.client.waiting import wait_for


def test_two_rooms_follow_each_other():
    with ck.connect("follow", url="memory://", name="ann") as ann, ck.connect("follow", url="memory://") as bob:
        ann.list("tasks").append({"title": "Write"})
        wait_for(bob, lambda: bob.to_json() == {"tasks": [{"title": "Write"}]})
        bob.list("tasks")[0]["title"] = "Read"
        wait_for(ann, lambda: ann.list("tasks")[0]["title"] == "Read")
        wait_for(ann, lambda: [other.actor for other in ann.others] == ["you"])
        ann.me["cursor"] = 3
        wait_for(bob, lambda: bob.others and bob.others[0].state == {"cursor": 3})


def test_a_room_is_looked_at_as_it_was():
    with ck.connect("as-it-was", url="memory://", name="ann") as ann:
        ann.doc("body").append("one\n\ntwo")
        ann.flush()
        seq, time = ann.seq, datetime.now(UTC)
        ann.doc("body")[0].text = "three"
        ann.flush()
        assert ann.at(seq).doc("body").text == "one\ntwo"
        assert ann.at(ann.seq).doc("body").text == "three\ntwo"
        assert ann.at(0).to_json() == {}
        assert ann.at(time + timedelta(days=1)).seq == ann.seq
        assert ann.at(time - timedelta(days=1)).seq == 0
        ann.doc("body").restore(ann.at(seq))
        assert ann.doc("body").text == "one\ntwo"
        with pytest.raises(InvalidValueError):
            ann.at(ann.seq + 100)


def test_many_threads_may_write_at_once():
    with ck.connect("threads", url="memory://") as room:
        items = room.list("items")

        def write(name: int) -> None:
            for i in range(50):
                with room.batch():
                    items.append([name, i])
                    room.map("last")[str(name)] = i

        threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        room.flush()

        assert len(items) == 200
        for n in range(4):
            assert [i for name, i in items if name == n] == list(range(50))
        assert room.sync_status == "buffered"  # memory:// has no disk


def test_it_works_inside_a_running_loop():
    async def cell() -> object:
        with ck.connect("in-loop", url="memory://") as room:
            room.root.a = 1
            room.flush()
            return room.to_json()

    assert asyncio.run(cell()) == {"a": 1}


def test_a_callback_may_edit_but_not_wait():
    with ck.connect("callbacks", url="memory://") as ann, ck.connect("callbacks", url="memory://") as bob:
        errors: list[BaseException] = []

        def answer(change: ck.Change) -> None:
            if change.remote and change.name == "question":
                bob.root.answer = change.new * 2
                try:
                    bob.flush()
                except LocalProtocolError as error:
                    errors.append(error)

        bob.root.observe(answer)
        ann.root.question = 21
        wait_for(ann, lambda: ann.root.get("answer") == 42)
        assert "cannot wait for its own room" in str(errors[0])


def test_a_callback_of_an_own_edit_may_wait_for_the_server():
    """It ran while the thread still had the room locked, and hung it."""
    with ck.connect("own-callbacks", url="memory://") as room:
        saved: list[str] = []

        def save(_: object) -> None:
            room.flush()
            saved.append(room.sync_status)

        room.root.observe(save)
        room.root.a = 1
        room.list("l").append(2)
        assert saved[0] == "buffered"


def test_waiting_in_a_batch_is_refused():
    with ck.connect("batch-flush", url="memory://") as room, room.batch():
        room.root.a = 1
        for wait in (room.flush, lambda: room.at(0), room.close, room.browser_ticket):
            with pytest.raises(LocalProtocolError, match="wait after it"):
                wait()


def test_another_thread_may_flush_during_a_batch():
    with ck.connect("flush-beside", url="memory://") as room:
        room.root.a = 0
        errors: list[BaseException] = []

        def flush() -> None:
            try:
                room.flush()
            except LocalProtocolError as error:
                errors.append(error)

        with room.batch():
            room.root.a = 1
            thread = threading.Thread(target=flush)
            thread.start()
        thread.join(HANG_S)
        assert errors == []


def test_a_closed_room_can_be_read_and_keeps_quiet():
    room = ck.connect("closed", url="memory://")
    room.root.a = 1
    room.close()
    room.close()

    assert room.to_json() == {"a": 1}
    assert room.status == "closed"
    with pytest.raises(ClosedError):
        room.flush()


def test_a_callback_may_close_the_room():
    with ck.connect("closing", url="memory://") as ann:
        bob = ck.connect("closing", url="memory://")
        bob.root.observe(lambda _: bob.close())
        closed = threading.Event()
        bob.on_status(lambda status: closed.set() if status == "closed" else None)
        ann.root.a = 1
        assert closed.wait(20)


@pytest.mark.parametrize("has_queue", [False, True])
def test_the_end_of_a_script_saves_its_last_edits(jupyter, tmp_path, has_queue):
    name = f"script-{has_queue}"
    code = (
        "import collabkernel as ck, sys\n"
        "room = ck.connect(sys.argv[3], url=sys.argv[1], token=sys.argv[2], offline_queue=sys.argv[4] or None)\n"
        "for i in range(100): room.list('l').append(i)\n"
    )
    queue = str(tmp_path / "queue") if has_queue else ""
    command = [sys.executable, "-c", code, jupyter.base_url, jupyter.kernel_token, name, queue]
    done = subprocess.run(command, timeout=HANG_S, capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")
    with ck.connect(name, url=jupyter.base_url, token=jupyter.kernel_token) as room:
        assert room.list("l") == list(range(100))


def test_a_relay_and_a_ticket_from_any_thread(jupyter):
    with ck.connect("browser", url=jupyter.base_url, token=jupyter.kernel_token) as room:
        assert room.browser_ticket()["ticket"] != room.browser_ticket()["ticket"]
        closed = threading.Event()
        relay = room.open_relay(lambda _: None, lambda _: closed.set())
        relay.close()
        assert closed.wait(20)


def test_a_loop_thread_runs_and_ends():
    thread = LoopThread("test")

    async def answer() -> int:
        return 42

    assert thread.run(answer()) == 42
    thread.stop()
    thread.post(print)
    with pytest.raises(ClosedError):
        thread.run(answer())
