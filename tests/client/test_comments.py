"""Threads on blocks and texts, and how they follow them."""

from __future__ import annotations

import json

import pytest

import collabkernel as ck
from collabkernel import aio
from collabkernel.client.comments import COMMENTS, Thread
from collabkernel.errors import ClosedError, DetachedError, InvalidValueError, ReadOnlyError
from tests.client.test_restore import open_docs, past_of


def places(thread: Thread) -> list[tuple[str, int, int]]:
    return [(block.text, start, stop) for block, start, stop in thread.ranges]


@pytest.mark.core
def test_a_thread_is_begun_answered_settled_and_deleted() -> None:
    world, ann, bob = open_docs()
    (one,) = ann.append("a plan for autumn")
    thread = ann.comments.add("Which one?", one, 2, 6)
    assert ann.comments[thread.id] == thread
    world.settle()
    (told,) = bob.comments
    told.reply("This one.")
    ann.comments[thread.id].reply("Ah.")
    world.settle()

    assert {comment.text for comment in thread} == {"Which one?", "This one.", "Ah."}
    assert [comment.text for comment in thread] == [comment.text for comment in told]
    assert (thread.quote, thread.text, thread.block, thread.is_orphaned) == ("plan", "plan", one, False)
    assert {comment.text: comment.author for comment in told} == {
        "Which one?": "user101",
        "This one.": "user102",
        "Ah.": "user101",
    }
    told.resolve()
    world.settle()
    assert thread.resolved
    thread.reopen()
    world.settle()
    assert not told.resolved
    told[0].text = "Which plan?"
    world.settle()
    assert (thread[0].text, thread[0].author, thread[0].time_ms > 0) == ("Which plan?", "user102", True)
    thread[0].delete()
    world.settle()
    assert len(told) == 2
    told.delete()
    world.settle()
    assert (len(ann.comments), thread.is_there, bool(ann.comments)) == (0, False, True)
    for dead in (lambda: thread.reply("?"), lambda: thread.quote, lambda: thread.delete()):
        with pytest.raises(DetachedError):
            dead()
    assert world.rooms[1].history.undo()
    assert told.text == "plan"
    with pytest.raises(KeyError):
        bob.comments["c0.0"]


@pytest.mark.core
def test_it_follows_its_text_through_edits_splits_merges_and_moves_of_others() -> None:
    world, ann, bob = open_docs()
    ann.append("one two three\n\nfour")
    world.settle()
    thread = ann.comments.add("?", ann[0], 4, 7)
    bob[0].insert(0, ">> ")
    ann[0].insert(5, "\U0001f600")
    world.settle()
    assert places(thread) == [(">> one t\U0001f600wo three", 7, 11)]
    bob[0].split(9)
    world.settle()
    assert places(thread) == [(">> one t\U0001f600", 7, 9), ("wo three", 0, 2)]
    assert thread.text == "t\U0001f600wo"
    bob[1].move(after=bob[2])
    bob[1].merge()
    world.settle()
    assert places(thread) == [(">> one t\U0001f600four", 7, 9), ("wo three", 0, 2)]
    assert set(ann.comments.on(ann[0])) == set(ann.comments.on(ann[1])) == {thread}
    bob[1].merge()
    world.settle()
    assert places(bob.comments[thread.id]) == [(">> one t\U0001f600fourwo three", 7, 9), (bob[0].text, 13, 15)]


@pytest.mark.core
def test_what_it_is_on_may_go_and_come_back() -> None:
    world, ann, bob = open_docs()
    one, two = ann.append("one two\n\nthree")
    on_text, on_block = ann.comments.add("?", one, 0, 3), ann.comments.add("!", two)
    assert (on_block.ranges, on_block.block, on_block.quote) == ([], two, "three")
    world.settle()
    bob[0].replace(0, 4, "")
    bob[1].delete()
    world.settle()
    assert (on_text.is_orphaned, on_text.ranges, on_text.quote, on_text.text) == (True, [], "one", "")
    assert (on_block.is_orphaned, on_block.block, on_block.quote) == (True, None, "three")
    assert set(ann.comments) == {on_text, on_block}
    past = past_of(world)
    assert [thread.quote for thread in past.doc("body").comments] == ["one", "three"]
    with pytest.raises(ReadOnlyError):
        past.doc("body").comments[on_text.id].reply("?")
    with pytest.raises(ClosedError):
        past.doc("body").comments.load_authors()
    world.rooms[1].history.undo()
    world.settle()
    assert not on_block.is_orphaned
    two.move(before=one)
    two.merge() if ann[0] == one else one.merge()
    assert on_block.block == ann[0]


@pytest.mark.core
def test_nothing_is_said_on_nothing() -> None:
    _, ann, _ = open_docs()
    (one,) = ann.append("one")
    for start, stop in ((1, 1), (3, 3), (5, 9)):
        with pytest.raises(InvalidValueError):
            ann.comments.add("?", one, start, stop)
    for text in ("", "  ", 3):
        with pytest.raises(InvalidValueError):
            ann.comments.add(text, one)  # type: ignore[arg-type]  # that is the test
    assert ann._context.replica.tree.to_json() == {}
    one.delete()
    with pytest.raises(DetachedError):
        ann.comments.add("?", one)


@pytest.mark.core
def test_watchers_are_told_of_each_thread_once_a_change() -> None:
    world, ann, bob = open_docs()
    notes = world.rooms[1].doc("notes")
    (one,) = ann.append("one")
    told: list[str] = []
    watch = bob.comments.observe(lambda thread: told.append(thread.id))
    other: list[Thread] = []
    notes.comments.observe(other.append)
    thread = ann.comments.add("?", one)
    world.settle()
    for change in (lambda: thread.reply("!"), thread.resolve, lambda: setattr(thread[0], "text", "??")):
        change()
        world.settle()
    assert told == [thread.id] * 4
    assert other == []
    thread.delete()
    world.settle()
    assert told == [thread.id] * 5
    bob.comments.unobserve(watch)
    ann.comments.add("again", one)
    world.settle()
    assert len(told) == 5


@pytest.mark.core
def test_what_others_wrote_there_breaks_nothing() -> None:
    world, ann, bob = open_docs()
    (one,) = ann.append("one")
    good = ann.comments.add("?", one, 0, 2)
    threads = world.rooms[0].map(COMMENTS)
    threads["x"] = 3
    threads["c9.9"] = {"document": "body", "comments": [1], "quote": 5, "anchors": "[[1]]"}
    threads["c8.8"] = {"document": "body", "anchors": json.dumps([[[1, 2], [3, 4], [5, True]]]), "block": 7}
    threads["c" + "9" * 30] = {"document": "body", "anchors": "[" * 100_000, "comments": 7}
    threads["c7.7"] = {"document": "body", "anchors": json.dumps([[[1, 2], [3, 4], [5, 10**30]]]), "block": "b1"}
    threads["other"] = {"document": "notes"}
    world.settle()
    found = list(bob.comments)
    assert [thread.id for thread in found][:3] == sorted(["c7.7", "c8.8", "c9.9", good.id], key=lambda n: int(n[1]))[:3]
    for thread in found:
        assert thread.id == good.id or (thread.is_orphaned, thread.ranges, thread.quote) == (True, [], "")
        assert [comment.text for comment in thread] in ([], [""], ["?"])
        assert repr(thread)


def test_authors_are_asked_of_the_server() -> None:
    with ck.connect("authors", url="memory://", name="ann") as ann:
        (one,) = ann.doc("body").append("one")
        ann.doc("body").comments.add("?", one)
    with ck.connect("authors", url="memory://", name="bob") as bob:
        comments = bob.doc("body").comments
        comments.load_authors()
        site = comments[next(iter(comments)).id][0]._stamp().site
        assert bob.ask_authors([], [site, 9], lambda found: found.actor_by_site) == {site: "ann"}
        then = bob.at(bob.seq).doc("body").comments
        assert [comment.author for thread in then for comment in thread] == ["ann"]
        assert [comment.author for thread in comments for comment in thread] == ["ann"]


@pytest.mark.anyio
async def test_an_async_room_awaits_the_server() -> None:
    async with aio.connect("async-authors", url="memory://", name="ann") as ann:
        (one,) = ann.doc("body").append("one")
        ann.doc("body").comments.add("?", one)
        await ann.flush()
        async with aio.connect("async-authors", url="memory://", name="bob") as bob:
            comments = bob.doc("body").comments
            await comments.load_authors()
            assert [comment.author for thread in comments for comment in thread] == ["ann"]
