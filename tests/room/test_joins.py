"""Joins and resumes: whoever asks for a site, flaky or hostile, the room goes on for everybody else."""

from __future__ import annotations

import pytest

from collabkernel.crdt.ids import ROOT, OpId
from collabkernel.document.operations import MapSet
from collabkernel.room.effects import Append, GrantSite, ReadMissing, Refuse
from collabkernel.room.events import AskFailed, FrameReceived, HelloDue, MissingRead, SessionClosed, SiteGranted
from collabkernel.storage.base import OpRow, SiteRow
from collabkernel.wire.codec import encode_client_message
from collabkernel.wire.messages import Hello, Resume, SessionKind, Submit
from collabkernel.wire.ops import encode_op
from tests.room.drive import Driver, envelope

pytestmark = pytest.mark.core


def ask_to_resume(world: Driver, site: int, actor: str = "ann") -> int:
    """A second socket asks for a site; the log has not answered yet."""
    session_id = world.open(actor)
    world.send(session_id, Hello(SessionKind.SCRIPT, "test 1", Resume(site, b"s" * 16, 0, None)))
    return session_id


def grant(world: Driver, session_id: int, site: int) -> None:
    """The log has raised the epoch."""
    old = world.row_by_site[site]
    row = SiteRow("board", site, old.actor, old.kind, old.epoch + 1, old.secret_hash, world.head)
    world.row_by_site[site] = row
    world.catch_up(world.feed(SiteGranted(session_id, row, b"", True)))


def refuse(world: Driver, session_id: int) -> None:
    """The secret was wrong."""
    world.feed(SiteGranted(session_id, None, b"", False))


def appended(world: Driver) -> list[tuple[int, int, int]]:
    """(site, epoch, counter) of all that the log was asked to take."""
    return [(r.site, r.epoch, r.counter) for e in world.effects if isinstance(e, Append) for r in e.requests]


def test_the_older_socket_stores_nothing_once_a_resume_is_asked_for() -> None:
    world = Driver()
    old = world.join()
    world.submit(old, envelope(1))
    new = ask_to_resume(world, 101)

    world.submit(old, envelope(2))
    world.submit(old, envelope(2, base=99))
    grant(world, new, 101)
    world.submit(new, envelope(2))

    assert appended(world) == [(101, 1, 1), (101, 2, 2)]
    assert not [effect for effect in world.effects if isinstance(effect, Refuse)]
    assert world.closed[old] == "superseded"
    assert world.acks(new) == [(2, 2)]


def test_what_came_in_the_same_turn_before_a_resume_is_stored_before_it() -> None:
    world = Driver(answers_log=False)
    old, new = world.join(), world.open()
    hello = Hello(SessionKind.SCRIPT, "test 1", Resume(101, b"s" * 16, 0, None))

    effects = world.feed(
        FrameReceived(old, encode_client_message(Submit((envelope(1),)))),
        FrameReceived(new, encode_client_message(hello)),
    )

    assert [type(effect) for effect in effects[:2]] == [Append, GrantSite]


def test_after_a_resume_that_was_refused_the_older_socket_goes_on() -> None:
    world = Driver()
    old = world.join()
    thief = ask_to_resume(world, 101)

    world.submit(old, envelope(1), envelope(2))
    refuse(world, thief)

    assert world.closed == {thief: "bad-resume"}
    assert world.rejects(old) == [(1, "counter-gap", False)]
    world.submit(old, envelope(1), envelope(2))
    assert world.acks(old) == [(1, 1), (2, 2)]


def test_somebody_else_who_asks_for_a_site_does_not_stop_it() -> None:
    world = Driver()
    ann = world.join("ann")
    eve = ask_to_resume(world, 101, actor="eve")

    world.submit(ann, envelope(1))

    assert world.closed == {eve: "bad-resume"}
    assert not [effect for effect in world.effects if isinstance(effect, GrantSite) and effect.resume]
    assert world.acks(ann) == [(1, 1)]


def test_of_two_that_resume_at_once_the_last_one_has_the_site() -> None:
    world = Driver()
    world.join()
    first, second = ask_to_resume(world, 101), ask_to_resume(world, 101)

    grant(world, first, 101)
    world.submit(first, envelope(1))
    grant(world, second, 101)
    world.submit(second, envelope(1))

    assert appended(world) == [(101, 3, 1)]
    assert world.closed[first] == "superseded"
    assert world.acks(second) == [(1, 1)]


def test_the_first_goes_on_when_the_second_is_refused() -> None:
    world = Driver()
    world.join()
    first, second = ask_to_resume(world, 101), ask_to_resume(world, 101)

    grant(world, first, 101)
    refuse(world, second)
    world.submit(first, envelope(1))

    assert world.acks(first) == [(1, 1)]


@pytest.mark.parametrize("is_granted", [True, False])
def test_a_socket_that_leaves_before_it_is_answered_harms_nobody(is_granted: bool) -> None:
    world = Driver()
    old = world.join()
    new = ask_to_resume(world, 101)
    world.feed(SessionClosed(new))

    if is_granted:
        grant(world, new, 101)
    else:
        refuse(world, new)
    world.submit(old, envelope(1))

    assert appended(world) == ([] if is_granted else [(101, 1, 1)])
    assert world.closed.get(old) == ("superseded" if is_granted else None)
    assert not world.unloaded


def test_a_resume_whose_outcome_is_unknown_ends_both_sockets_and_nobody_else() -> None:
    world = Driver()
    old, bob = world.join("ann"), world.join("bob")
    new = ask_to_resume(world, 101)

    world.feed(AskFailed(new, "database is locked"))
    world.submit(bob, envelope(1))

    assert world.closed == {new: "storage-error", old: "storage-error"}
    assert world.acks(bob) == [(1, 1)]


def test_a_session_whose_question_failed_comes_back_alone() -> None:
    world = Driver()
    ann, bob = world.join("ann"), world.join("bob")

    world.feed(AskFailed(ann, "database is locked"))
    world.submit(bob, envelope(1))

    assert world.closed == {ann: "storage-error"}
    assert world.acks(bob) == [(1, 1)]


def test_a_second_hello_is_refused() -> None:
    world = Driver()
    ann = world.join()
    world.take(ann)

    world.send(ann, Hello(SessionKind.SCRIPT, "again"))

    assert [n.code for m in world.take(ann) for n in m.notices] == ["protocol-error"]


def test_a_resume_continues_its_site_and_supersedes_the_older_socket() -> None:
    world = Driver()
    ann = world.join("ann")
    world.submit(ann, envelope(1))
    site = 100 + ann

    again = world.join("ann", resume=Resume(site, b"s" * 16, 1, OpId(site, 1)))

    assert world.closed == {ann: "superseded"}
    welcome = world.take(again)[0].welcome
    assert welcome is not None
    assert (welcome.site, welcome.secret, welcome.resync) == (site, b"", False)


def test_a_resume_that_is_refused_ends_with_bye() -> None:
    world = Driver()
    ann = world.open()
    world.send(ann, Hello(SessionKind.SCRIPT, "x", Resume(5, b"s" * 16, 0, None)))

    world.feed(SiteGranted(ann, None, b"", log_agrees=False))

    byes = [m.bye.code for m in world.take(ann) if m.bye]
    assert byes == ["bad-resume"]
    assert world.closed == {ann: "bad-resume"}


def test_a_resume_beyond_the_log_is_told_to_resync() -> None:
    world = Driver()
    ann = world.join("ann")
    again = world.open("ann")
    world.hello(again, Resume(100 + ann, b"s" * 16, 50, OpId(9, 9)), log_agrees=False)

    message = world.take(again)[0]

    assert message.welcome is not None
    assert message.welcome.resync


def test_who_talks_but_never_says_hello_is_closed() -> None:
    world = Driver()
    mute, ann = world.open("mute"), world.join("ann")
    world.feed(FrameReceived(mute, b"\xff"))

    world.feed(HelloDue(mute), HelloDue(ann))

    assert world.closed == {mute: "hello-timeout"}


def test_who_has_seen_more_of_the_log_elsewhere_is_let_in_when_that_is_shown_here() -> None:
    world = Driver(has_peers=True)
    world.submit(world.join(), envelope(1))
    world.answers_log = False
    session = ask_to_resume(world, 101)
    row = SiteRow("board", 101, "ann", 0, 2, b"h" * 32, 1)

    effects = world.feed(SiteGranted(session, row, b"", log_agrees=True, head=3))
    assert [effect for effect in effects if isinstance(effect, ReadMissing)] == [ReadMissing(1)]
    assert world.take(session) == []

    foreign = OpRow(2, 7, 1, 1, 0, 1, "eve", 1, encode_op(MapSet(ROOT, "k", 1)))
    world.feed(MissingRead((foreign,)))
    assert world.take(session) == [], "that was not all of it"

    world.catch_up(world.feed(MissingRead((foreign._replace(seq=3, counter=2, first_counter=2, hlc=2),))))
    (welcome,) = [message.welcome for message in world.take(session) if message.welcome is not None]
    assert (welcome.seq, welcome.next_counter) == (3, 2)
