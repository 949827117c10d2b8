"""What edits of texts cost: counted right, metered, bounded, and known again after an encoding."""

from __future__ import annotations

import random

import pytest

from collabkernel.crdt.ids import ROOT, OpId, Slot, Stamp
from collabkernel.crdt.order_key import key_between
from collabkernel.crdt.text import TextRope
from collabkernel.crdt.yjs.parse import write_uint
from collabkernel.crdt.yjs.policy import ROPE_POLICY
from collabkernel.crdt.yjs.yrs import RETAINED_UPDATES_MIN
from collabkernel.document.live_tree import TYPED_TEXT_BYTES, LiveTree, TextNode
from collabkernel.document.operations import (
    BlockInsert,
    ContainerKind,
    Envelope,
    MapSet,
    NewContainer,
    NewDocument,
    Op,
    TextEdit,
    document_id,
)
from collabkernel.document.room_state import RoomState
from collabkernel.errors import InvalidYjsUpdateError
from collabkernel.limits import WARM_TEXTS, Limits
from collabkernel.room import text_work
from collabkernel.room.admission import apply_envelope
from collabkernel.room.text_work import CUT_BYTES, TextSizes, cuts, waking, work
from tests.examples import seeds
from tests.room.drive import HLC0, Driver, envelope

pytestmark = pytest.mark.core

TEXT = OpId(101, 1)


def deletes(client: int, *clocks: int) -> bytes:
    """An update that deletes single units of a client's."""
    ranges = b"".join([write_uint(clock) + b"\x01" for clock in clocks])
    return b"\x00\x01" + write_uint(client) + write_uint(len(clocks)) + ranges


def test_typing_cuts_nothing_and_edits_in_the_midst_do() -> None:
    rope = TextRope(7)
    assert cuts(rope.insert(0, "hello world")) == 1
    assert cuts(rope.insert(11, "!")) == 0
    assert cuts(rope.insert(12, "!")) == 0
    assert cuts(rope.insert(5, ",")) == 1
    assert cuts(rope.insert(6, " dear")) == 0
    assert cuts(rope.delete(0, 3)) == 1
    assert cuts(rope.splice(0, 5, "farewell")) >= 2
    assert cuts(rope.format(2, 6, {"bold": True})) == 2
    assert cuts(deletes(9, 2, 4, 6)) == 3


@pytest.mark.parametrize("update", [b"", b"\x01", b"\x00\x01", b"\xff" * 20, b"\x01\x01\x07\x00\x09\x01", b"\x02\x00"])
def test_what_is_no_update_is_left_to_the_validator(update: bytes) -> None:
    assert cuts(update) in (0, 1, 2)


def text_room(limits: Limits, contents: str) -> tuple[Driver, int, TextRope]:
    world, rope = Driver(limits), TextRope(101)
    ann = world.join()
    typed = rope.insert(0, contents)
    made = MapSet(ROOT, "t", NewContainer(ContainerKind.TEXT))
    world.submit(ann, envelope(1, made, TextEdit(TEXT, typed)))
    return world, ann, rope


@pytest.mark.heavy
def test_many_cuts_in_a_long_text_are_refused_in_time() -> None:
    """A frame of 31 KB was nine seconds of the server."""
    world, ann, _ = text_room(Limits(text_work=100_000_000), "x" * 200_000)
    clocks = range(0, 20_000, 2)

    world.submit(ann, envelope(3, TextEdit(TEXT, deletes(101, *clocks))))
    world.submit(ann, envelope(4, *[TextEdit(TEXT, deletes(101, n)) for n in clocks]))
    world.submit(ann, envelope(10_004, TextEdit(TEXT, deletes(101, *clocks[:400]))))

    assert world.rejects(ann) == [(3, "too-large", True), (4, "too-large", True)]
    assert [counter for counter, _ in world.acks(ann)] == [1, 10_004]


def test_work_is_metered_as_operations_are() -> None:
    world, ann, _ = text_room(Limits(ops_per_s=100, ops_burst=1000), "x" * 200_000)

    for n in range(20):
        world.submit(ann, envelope(3 + n, TextEdit(TEXT, deletes(101, *range(1000 * n, 1000 * n + 800, 2)))))

    counters = [counter for counter, _ in world.acks(ann)]
    assert 5 < len(counters) < 12
    assert world.rejects(ann) == [(counters[-1] + 1, "rate", False)]


def crowded_room(limits: Limits) -> tuple[Driver, int]:
    """A room with a text in which ann made 4,000 pieces that nobody knew of who writes at the end."""
    world = Driver(limits)
    ann, bob = world.join("ann"), world.join("bob")
    backwards = [b"\x44\x65" + write_uint(n) + b"\x01a" for n in range(3999)]
    typed = b"\x01" + write_uint(4000) + b"\x65\x00\x04\x01\x04text\x01a" + b"".join(backwards) + b"\x00"
    made = MapSet(ROOT, "t", NewContainer(ContainerKind.TEXT))
    world.submit(ann, envelope(1, made, TextEdit(TEXT, typed)))
    assert world.acks(ann)
    return world, bob


def blind_insert(clock: int) -> TextEdit:
    """An insert of site 102 that names no neighbours, so that it is concurrent with all."""
    return TextEdit(TEXT, b"\x01\x01\x66" + write_uint(clock) + b"\x04\x01\x04text\x01b\x00")


@pytest.mark.heavy
def test_walks_over_concurrent_inserts_are_metered() -> None:
    """Each of 10,000 inserts in an envelope could walk over 10,000 others: a minute of the event loop."""
    world, bob = crowded_room(Limits(ops_per_s=100, ops_burst=1000))

    for n in range(300):
        world.submit(bob, envelope(1 + n, blind_insert(n)))

    counters = [counter for counter, _ in world.acks(bob)]
    assert 80 < len(counters) < 120
    assert world.rejects(bob)[0] == (counters[-1] + 1, "rate", False)


@pytest.mark.heavy
def test_walks_of_one_envelope_are_bounded() -> None:
    world, bob = crowded_room(Limits())
    tree = world.room._state.tree
    before = len(tree.to_json()["t"])

    world.submit(bob, envelope(1, *[blind_insert(n) for n in range(100)]))
    world.submit(bob, envelope(101, *[blind_insert(n) for n in range(10)]))

    assert world.rejects(bob) == [(1, "invalid-yjs-update", True)]
    assert [counter for counter, _ in world.acks(bob)] == [101]
    assert len(tree.to_json()["t"]) == before + 10
    assert tree.to_json()["t"].count("b") == 10
    assert tree.size_bytes > before + 10, "however many updates are kept beside its state"


def test_half_an_envelope_that_is_refused_never_goes_back_over_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    world, ann, rope = text_room(Limits(), "hello")
    monkeypatch.setattr(TextRope, "rewind", lambda *_: pytest.fail("gone back over"))
    typed = TextEdit(TEXT, rope.insert(0, "y"))
    before = world.room._state.tree.size_bytes

    world.submit(ann, envelope(3, typed, MapSet(OpId(9, 9), "k", 1)))
    world.submit(ann, envelope(5, MapSet(ROOT, "a", 1), TextEdit(TEXT, b"\x00\x00"), MapSet(ROOT, "b", 1)))
    world.submit(ann, envelope(8, typed, TextEdit(TEXT, b"\x00\x00")))
    world.submit(ann, envelope(10, typed, typed))
    assert world.room._state.tree.size_bytes == before
    world.submit(ann, envelope(12, typed))

    assert [counter for counter, _, _ in world.rejects(ann)] == [3, 5, 8, 10]
    assert world.room._state.tree.to_json() == {"t": "yhello"}


@pytest.mark.interpreted
def test_what_yrs_refuses_after_all_leaves_every_text_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hole in the validator: one text has taken its edit already when yrs refuses another's."""
    world, ann, rope = text_room(Limits(), "hello")
    world.submit(ann, envelope(3, MapSet(ROOT, "u", NewContainer(ContainerKind.TEXT))))
    tree, other = world.room._state.tree, OpId(101, 3)
    typed = TextEdit(TEXT, rope.insert(0, "y"))
    before = tree.size_bytes

    def refuse(_rope: TextRope, _text: object) -> None:
        raise InvalidYjsUpdateError("no")

    with monkeypatch.context() as broken:
        text = tree.nodes[other]
        assert isinstance(text, TextNode)
        broken.setattr(text.rope, "apply_staged", lambda: refuse(text.rope, text))
        world.submit(ann, envelope(4, typed, TextEdit(other, TextRope(101).insert(0, "z"))))
    assert (tree.to_json(), tree.size_bytes) == ({"t": "hello", "u": ""}, before)
    world.submit(ann, envelope(6, typed, TextEdit(other, TextRope(101).insert(0, "z"))))

    assert [counter for counter, _, _ in world.rejects(ann)] == [4]
    assert tree.to_json() == {"t": "yhello", "u": "z"}


@pytest.mark.heavy
def test_texts_are_counted_by_their_cuts_until_their_size_is_known() -> None:
    tree = LiveTree()
    sizes, author, rope = TextSizes(RoomState(tree)), TextRope(101), TextRope(5)

    def edit(update: bytes, client: int) -> None:
        rope.stage(update, client)
        sizes.apply_staged(TextEdit(TEXT, update), rope)

    edit(author.insert(0, "x" * 10_000), 101)
    whole = tree.size_bytes
    assert 10_000 < whole - TYPED_TEXT_BYTES < 10_000 + 2 * CUT_BYTES

    edit(deletes(101, *range(0, 1000, 2)), 9)
    assert tree.size_bytes - whole >= 500 * CUT_BYTES

    for _ in range(3000):
        edit(author.insert(len(author), "x"), 101)
        author.take_step()
    assert tree.size_bytes - TYPED_TEXT_BYTES < len(rope.encode_state()) + 3000 * 40


def test_work_is_cuts_times_size() -> None:
    tree = LiveTree()
    tree.apply(TEXT, Stamp(1, 101), MapSet(ROOT, "t", NewContainer(ContainerKind.TEXT)))
    tree.apply(OpId(101, 2), Stamp(2, 101), TextEdit(TEXT, TextRope(101).insert(0, "x" * 100_000)))
    op = TextEdit(TEXT, deletes(101, 1, 3, 5))

    assert 300_000 <= work(RoomState(tree), Envelope(3, 0, HLC0, (op, op))) // 2 <= 300_300
    assert work(RoomState(tree), Envelope(3, 0, HLC0, (MapSet(ROOT, "k", 1), TextEdit(OpId(5, 5), op.update)))) == 0


@pytest.mark.parametrize("rest", [b"\x00\x00", b"\xff\xff\xff\xff\x7f", b"\x84\x65\x04\x01z\x00"])
def test_an_update_that_begins_with_a_known_clock_is_not_stored_unread(rest: bytes) -> None:
    """It was taken for a resend and stored; at the next load it went to yrs as it was."""
    world, ann, _ = text_room(Limits(), "hello")
    known = b"\x01\x01" + write_uint(101) + b"\x00" + rest

    world.submit(ann, envelope(3, TextEdit(TEXT, known)))
    world.submit(ann, envelope(4, MapSet(ROOT, "a", 1), TextEdit(TEXT, known)))

    assert world.rejects(ann) == [(3, "invalid-yjs-update", True), (4, "invalid-yjs-update", True)]


# -- texts of blocks

LINE = "The quick brown fox jumps over the lazy dog, as it must do. "
UNMETERED = Limits(ops_per_s=10**6, ops_burst=10**6, envelope_ops=10**5)


class Typist:
    """Makes blocks below one document, each with a text of its own, in envelopes of one site."""

    def __init__(self, limits: Limits = UNMETERED) -> None:
        self.world = Driver(limits)
        self.ann = self.world.join()
        self._next = 1
        self._key: str | None = None
        self.submit(NewDocument(ROOT, "body"))

    @property
    def state(self) -> RoomState:
        return self.world.room._state

    def submit(self, *ops: Op) -> int:
        """Send one envelope; return its first counter."""
        first, self._next = self._next, self._next + len(ops)
        self.world.submit(self.ann, envelope(first, *ops))
        assert not self.world.rejects(self.ann)
        return first

    def add(self, count: int, text: str = LINE) -> list[OpId]:
        """Blocks that are typed in, in one envelope."""
        blocks: list[OpId] = []
        ops: list[Op] = []
        for _ in range(count):
            self._key = key_between(self._key, None, 101)
            blocks.append(OpId(101, self._next + len(ops)))
            ops.append(BlockInsert(document_id("body"), Slot.CHILD, self._key, "paragraph"))
            ops += [TextEdit(blocks[-1], TextRope(101).insert(0, text))] if text else []
        self.submit(*ops)
        return blocks

    def warm(self) -> int:
        """How many texts are ready to be edited."""
        blocks = self.state.blocks
        assert blocks is not None
        return sum([not rope.is_cold for rope in blocks.ropes.values()])


@pytest.mark.heavy
def test_a_room_holds_a_document_of_thousands_of_typed_blocks() -> None:
    """Each was counted as 7 kB, so it was full with 1,300."""
    typist = Typist()
    for _ in range(4):
        typist.add(500)

    assert typist.state.size_bytes / 2000 * 9000 < Limits().room_bytes
    assert typist.warm() == WARM_TEXTS, "which take 7 kB each"


@pytest.fixture
def few_warm(monkeypatch: pytest.MonkeyPatch) -> int:
    """How many texts stay ready, for the test: not many, so that it is short."""
    monkeypatch.setattr(text_work, "WARM_TEXTS", 10)
    return 10


def test_texts_that_were_edited_last_stay_ready(few_warm: int) -> None:
    typist = Typist()
    blocks = typist.add(few_warm + 5, "hello")

    assert typist.warm() == few_warm
    assert [bool(typist.state.waking(TextEdit(block, b""))) for block in (blocks[0], blocks[-1])] == [True, False]
    typist.submit(TextEdit(blocks[0], b"\x00\x01\x65\x01\x00\x01"))
    assert typist.state.blocks is not None
    assert typist.state.blocks.text(blocks[0]) == "ello"


def test_a_text_that_was_typed_by_the_letter_is_counted_by_its_length_once_nobody_edits_it(few_warm: int) -> None:
    by_letter, at_once, rope = Typist(), Typist(), TextRope(101)
    (block,) = by_letter.add(1, "")
    at_once.add(1, "x" * RETAINED_UPDATES_MIN)
    for i in range(RETAINED_UPDATES_MIN):
        by_letter.submit(TextEdit(block, rope.insert(i, "x")))
    assert by_letter.state.size_bytes > at_once.state.size_bytes + 6 * RETAINED_UPDATES_MIN

    by_letter.add(few_warm, "hello")
    at_once.add(few_warm, "hello")
    assert by_letter.state.size_bytes == at_once.state.size_bytes


def test_making_texts_ready_is_charged(few_warm: int) -> None:
    typist = Typist()
    blocks = typist.add(few_warm + 3, "hello")
    edits = [TextEdit(block, b"\x00\x01\x65\x01\x00\x01") for block in blocks]

    assert waking(typist.state, Envelope(9000, 0, HLC0, (*edits, *edits))) == 3
    typist.submit(*edits[:2])
    assert waking(typist.state, Envelope(9000, 0, HLC0, (*edits,))) == 1


@pytest.mark.parametrize("seed", seeds(range(12)))
def test_texts_that_are_bytes_in_between_become_what_others_become(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two write in three blocks, each behind on what the other did; one room lets all texts but one be bytes."""
    monkeypatch.setattr(text_work, "WARM_TEXTS", 1)
    rng, (ann, bob) = random.Random(seed), (101, 102)
    cooled, warm = Typist(), Typist()
    blocks = cooled.add(3, "")
    assert warm.add(3, "") == blocks
    counters = {ann: 100, bob: 1}
    ropes = {site: {block: TextRope(site, policy=ROPE_POLICY) for block in blocks} for site in (ann, bob)}
    behind: dict[int, list[tuple[OpId, bytes]]] = {ann: [], bob: []}
    sizes = [TextSizes(room.state) for room in (cooled, warm)]
    were_cold = 0
    for _ in range(90):
        me, block = rng.choice((ann, bob)), rng.choice(blocks)
        mine, other = ropes[me][block], bob if me == ann else ann
        while behind[me] and rng.random() < 0.7:
            theirs, update = behind[me].pop(0)
            ropes[me][theirs].apply(update, other)
        is_delete = len(mine) > 0 and rng.random() < 0.3
        at = rng.randrange(len(mine) + (not is_delete))
        update = mine.delete(at, 1) if is_delete else mine.insert(at, rng.choice("abc"))
        behind[other].append((block, update))
        counters[me] += 1
        for room, each in zip((cooled, warm), sizes, strict=True):
            apply_envelope(room.state, each, me, Envelope(counters[me], 0, HLC0, (TextEdit(block, update),)))
        sizes[0].rest()
        were_cold += sum([bool(cooled.state.waking(TextEdit(each, b""))) for each in blocks])

    assert were_cold > 90
    for block in blocks:
        edit = TextEdit(block, b"")
        assert cooled.state.rope(edit).text == warm.state.rope(edit).text
        assert cooled.state.rope(edit).state_vector() == warm.state.rope(edit).state_vector()
    assert cooled.state.size_bytes <= warm.state.size_bytes
