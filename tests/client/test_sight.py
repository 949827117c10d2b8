"""Replicas that look at parts of a document, at a real room: what they have, what they refuse, what they are told."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import pytest

from collabkernel.client.block import Block
from collabkernel.client.doc import Doc
from collabkernel.client.lost_edit import LostEdit
from collabkernel.client.notifications import Loaded
from collabkernel.client.sight import Sight, loaded_since, merged, viewport_of
from collabkernel.crdt.ids import ROOT, OpId
from collabkernel.document.operations import Envelope, MapSet, StoredEnvelope
from collabkernel.document.partitions import Partitions, Sizes
from collabkernel.document.room_state import RoomState
from collabkernel.errors import DetachedError, InvalidValueError, NotLoadedError, RemoteProtocolError
from collabkernel.limits import VIEWPORT_BLOCKS_MAX, VIEWPORT_INTERVAL_MS, Limits
from collabkernel.room import viewport
from collabkernel.wire.messages import Contents, Notice, ServerMessage, Viewport
from tests.client.room_world import RoomWorld

pytestmark = [pytest.mark.core, pytest.mark.interpreted]

PARAGRAPHS = 40
LONG = 60
PARTITION = 10
"""Blocks of a partition, at most."""


@pytest.fixture(autouse=True)
def _small_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewport, "Partitions", partial(Partitions, sizes=Sizes(4, PARTITION)))
    monkeypatch.setattr(viewport, "VIEWPORT_PARTITIONS_KEPT", 2)


class Book:
    """A long document, its author who has all of it, and a reader who looks at parts."""

    def __init__(self, paragraphs: int = PARAGRAPHS, limits: Limits | None = None) -> None:
        self.world = RoomWorld(False, limits=limits or Limits())
        self.author = self.world.rooms[0].doc("body")
        if paragraphs:
            self.author.append("\n\n".join(f"paragraph {i}" for i in range(paragraphs)))
        self.settle()
        self.room = self.world.add(is_lazy=True)
        self.reader = self.room.doc("body")
        self.line = self.world.lines[1]

    def settle(self) -> None:
        self.world.settle()

    def show(self, *blocks: Block) -> None:
        self.reader.scroll_to(*blocks)
        self.settle()

    def mine(self, block: Block) -> Block:
        """The reader's handle of a block of the author."""
        return self.reader[block.id]

    @property
    def known(self) -> set[OpId]:
        blocks = self.room.replica.state.blocks
        assert blocks is not None
        assert blocks.known is not None
        return blocks.known


def test_places_and_types_are_here_and_contents_are_unknown_rather_than_empty():
    book = Book()

    assert [block.id for block in book.reader] == [block.id for block in book.author]
    first = book.reader[0]
    assert (first.type, first.is_loaded, first.depth) == ("paragraph", False, 0)
    for read in (
        lambda: first.text,
        lambda: first.properties,
        lambda: first.to_delta(),
        lambda: first["done"],
        book.reader.markdown,
        lambda: book.reader.text,
        lambda: book.reader.diff(book.world.rooms[0]),
    ):
        with pytest.raises(NotLoadedError, match=r"doc\.show") as caught:
            read()
    assert caught.value.code == "not-loaded"
    assert book.reader.outline().splitlines()[0] == f"{first.id} paragraph, not loaded"
    assert repr(first) == f"<Block {first.id}, not loaded>"


def test_what_is_shown_is_here_with_some_near_it():
    book = Book()

    book.show(book.reader[0], book.reader[-1])

    assert book.reader[0].text == "paragraph 0"
    assert book.reader[-1].text == f"paragraph {PARAGRAPHS - 1}"
    assert (book.reader[1].is_loaded, book.reader[PARAGRAPHS // 2].is_loaded) == (True, False)
    assert len(book.known) <= 2 * PARTITION + 1
    assert "paragraph 0" in book.reader.outline()


def test_others_edits_come_where_it_is_in_sight_and_are_passed_over_elsewhere():
    book = Book()
    book.show(book.reader[0])

    book.author[0].text = "near"
    book.author[0]["done"] = True
    book.author[-1].text = "far"
    book.author[-1]["done"] = True
    book.author[-1].type = "heading"
    book.settle()

    assert (book.reader[0].text, book.reader[0]["done"]) == ("near", True)
    assert (book.reader[-1].is_loaded, book.reader[-1].type) == (False, "heading")
    assert book.room.replica.through == book.world.server.head
    book.show(book.reader[-1])
    assert (book.reader[-1].text, book.reader[-1]["done"]) == ("far", True)


def test_what_is_not_loaded_is_moved_and_deleted_but_not_written_to():
    book = Book()
    first, middle, last = book.reader[0], book.reader[20], book.reader[-1]

    last.move(before=first)
    middle.delete()
    first.type = "heading"
    for write in (
        lambda: setattr(first, "text", "new"),
        lambda: first.insert(0, "new"),
        lambda: first.format(0, 3, bold=True),
        lambda: first.split(3),
        lambda: first.__setitem__("done", True),
        lambda: first.__delitem__("done"),
    ):
        with pytest.raises(NotLoadedError):
            write()
    first.merge()
    book.settle()

    assert book.author[0].text == f"paragraph {PARAGRAPHS - 1}paragraph 0"
    assert len(book.author) == PARAGRAPHS - 2
    assert [block.id for block in book.reader] == [block.id for block in book.author]
    assert book.room.history.undo()
    book.settle()
    assert book.author[1].text == "paragraph 0"


def test_what_was_written_is_kept_out_of_sight_until_it_is_acknowledged():
    book = Book(LONG)
    first = book.reader[0]
    book.show(first)
    book.line.cut()
    first.insert(0, "mine: ")
    first["done"] = True

    for at in range(0, LONG, PARTITION // 2):
        book.show(book.reader[at])

    assert not first.is_loaded
    assert len(book.room.replica.pending) == 0
    assert book.author[0].text == "mine: paragraph 0"
    book.show(first)
    assert (first.text, first["done"]) == ("mine: paragraph 0", True)


def test_what_is_pending_is_on_top_of_contents_that_come():
    book = Book()
    first, last = book.reader[0], book.reader[-1]
    book.show(first)
    first.insert(0, "mine: ")
    book.author[0].insert(0, "theirs: ")
    book.line.cut()  # the server has neither of the two from here

    book.line.connect()
    while book.line.up:
        book.line.serve_one()
    book.line.flush()
    while book.line.down:
        book.line.deliver_one()

    assert first.is_loaded
    assert not last.is_loaded
    assert first.text == "mine: paragraph 0"
    assert len(book.room.replica.pending) == 1
    book.settle()
    assert sorted(first.text.split(": ")) == ["mine", "paragraph 0", "theirs"]
    assert book.author[0].text == first.text


def test_blocks_that_it_inserts_are_whole_and_stay_so():
    book = Book()
    book.show(book.reader[0])

    (made,) = book.reader.append("made *here*")
    assert (made.text, made.is_loaded) == ("made here", True)
    book.settle()
    assert made.text == "made here"
    book.author[-1].insert(0, "changed: ")
    book.author[-1]["done"] = True
    book.settle()

    assert (made.text, made["done"]) == ("changed: made here", True)
    assert not book.reader[20].is_loaded


def test_the_second_half_of_a_block_that_it_splits_is_here():
    book = Book()
    book.show(book.reader[-1])

    half = book.reader[-1].split(4)
    book.settle()
    book.author[-1].text += "!"
    book.settle()

    assert (book.reader[-2].text, half.text) == ("para", f"graph {PARAGRAPHS - 1}!")


def test_what_it_has_not_been_told_of_is_not_here_though_it_is_in_a_rope_that_is():
    book = Book()
    book.show(book.reader[0])
    book.author[0].split(4)
    book.settle()

    assert [book.reader[at].text for at in (0, 1)] == ["para", "graph 0"]


def test_observers_are_told_what_comes_and_goes():
    book = Book(LONG)
    told: list[tuple[str, str]] = []
    first = book.reader[0]
    book.reader.observe(lambda change: told.append((change.type, change.owner.id)))

    book.show(first)
    assert ("load", first.id) in told
    assert {kind for kind, _ in told} == {"load"}
    for at in range(0, LONG, PARTITION // 2):
        book.show(book.reader[at])
    assert ("unload", first.id) in told
    told.clear()
    book.author[-1].text = "seen"
    book.author[0].text = "not seen"
    book.settle()
    assert told == [("text", book.reader[-1].id)]


def test_it_names_again_what_it_shows_on_a_new_connection():
    book = Book()
    book.show(book.reader[0])
    (made,) = book.reader.append("made here")
    book.settle()
    book.line.cut()
    book.author[0].text = "meanwhile"
    book.author[-1].text = "changed"
    book.settle()

    assert (book.reader[0].text, made.text) == ("meanwhile", "changed")
    book.world.restart()
    book.settle()
    book.author[0].text = "after"
    book.settle()
    assert book.reader[0].text == "after"
    assert not book.reader[20].is_loaded


def test_after_a_refusal_it_has_what_it_shows_and_its_edit_is_taken_back():
    book = Book(limits=Limits(room_bytes=2 << 20))
    book.show(book.reader[0])
    first = book.reader[0]
    for _ in range(12):  # of 256 kB each
        first["note"] = "x" * 200_000
        first["note2"] = "y" * 200_000
        first[f"more{_}"] = "z" * 200_000
    book.settle()

    assert book.room.take_refused() is not None
    assert first.is_loaded
    assert first.properties == book.author[0].properties
    assert not book.reader[20].is_loaded
    assert book.room.replica.through == book.world.server.head


def test_a_lost_site_takes_everything_to_make_its_edits_again():
    book = Book()
    book.show(book.reader[0])
    book.line.send()
    book.reader[0].insert(0, "once ")
    book.reader.append("made")
    book.line.send()
    while book.line.up:
        book.line.serve_one()
    book.line.lose_site()  # stored, but nobody was told
    book.reader[0].insert(0, "twice ")
    book.settle()

    assert book.author[0].text == book.reader[0].text == "twice once paragraph 0"
    assert [block.text for block in book.author][-1] == "made"
    assert not book.reader[20].is_loaded, "it looks at what it did"


def test_everything_is_shown_again_over_a_new_connection():
    book = Book()
    book.show(book.reader[0])
    told: list[str] = []
    book.reader.observe(lambda change: told.append(change.type))
    book.world.server.snapshot_part = 1

    book.reader.show_all()
    book.settle()

    assert book.reader.markdown() == book.author.markdown()
    assert set(told) == {"load"}
    assert all(block.is_loaded for block in book.reader)
    book.author[-1].text = "seen"
    book.settle()
    assert book.reader[-1].text == "seen"


def test_a_replica_that_had_everything_looks_at_a_part():
    book = Book()
    other = book.world.add(is_lazy=False)
    doc = other.doc("body")
    doc.scroll_to(doc[0])
    assert doc[-1].text == f"paragraph {PARAGRAPHS - 1}", "until the server leaves something out"
    book.settle()
    book.author[-1].text = "not seen"
    book.settle()

    assert doc[0].text == "paragraph 0"
    assert not doc[-1].is_loaded


def test_a_range_is_shown_around_a_block():
    book = Book()
    book.reader.scroll_to(book.reader[20], around=8)
    book.settle()

    assert [book.reader[at].is_loaded for at in (12, 20, 28)] == [True] * 3
    blocks = book.room.replica.state.blocks
    assert blocks is not None
    order = list(blocks.tree.in_order(book.reader._root))
    assert viewport_of(blocks, book.reader._root, [order[1]], 2) == order[:4]
    with pytest.raises(InvalidValueError, match="501"):
        viewport_of(blocks, book.reader._root, [OpId(7, i + 1) for i in range(501)], 0)
    with pytest.raises(InvalidValueError, match="another room"):
        book.reader.scroll_to(book.author[0])
    gone = book.reader[0]
    gone.delete()
    with pytest.raises(DetachedError):
        book.reader.scroll_to(gone)


def test_blocks_that_are_merged_in_are_shown_with_their_host():
    book = Book()
    book.author[-1].move(after=book.author[0])
    book.author[1].merge()
    book.settle()

    book.show(book.reader[0])

    assert book.reader[0].text == f"paragraph 0paragraph {PARAGRAPHS - 1}"
    book.author[0].text += "!"
    book.settle()
    assert book.reader[0].text.endswith("!")


def test_an_undo_of_what_is_out_of_sight_waits_for_it():
    book = Book(LONG)
    first = book.reader[0]
    book.show(first)
    first["done"] = True
    for at in range(0, LONG, PARTITION // 2):
        book.show(book.reader[at])

    with pytest.raises(NotLoadedError):
        book.room.history.undo()
    book.show(first)
    assert book.room.history.undo()
    book.settle()
    assert "done" not in book.author[0].properties


def test_an_edit_out_of_sight_that_a_delete_crossed_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(viewport, "VIEWPORT_PARTITIONS_KEPT", 0)
    book = Book()
    first, lost = book.reader[0], list[LostEdit]()
    book.show(first)
    book.reader.on_lost_edit(lost.append)
    first.insert(0, "mine ")
    book.reader.scroll_to(book.reader[-1])
    book.line.send()
    while book.line.up:
        book.line.serve_one()
    book.author[0].delete()
    book.settle()

    assert not first.is_loaded
    (told,) = lost
    assert told.restore() == first
    book.settle()
    assert book.author[0].text == "mine paragraph 0"


def test_text_that_was_loaded_anew_is_not_undone():
    """yrs panics on a step of a text that it does not have."""
    book = Book(LONG)
    first = book.reader[0]
    book.show(first)
    first.insert(0, "mine ")
    for at in range(0, LONG, PARTITION // 2):
        book.show(book.reader[at])
    book.show(first)

    assert not book.room.history.undo()
    assert first.text == "mine paragraph 0"


def test_a_document_made_in_an_empty_room_is_here():
    book = Book(paragraphs=0)
    other = book.world.add(is_lazy=True).doc("other")
    (made,) = other.append("mine")
    book.settle()

    assert made.text == "mine"
    assert other.markdown() == "mine\n"
    assert book.world.rooms[0].doc("other").markdown() == "mine\n"


def test_viewports_leave_at_most_twice_a_second_and_the_last_one_wins():
    sight = Sight(is_lazy=True)
    one, two, three = (OpId(7, i) for i in (1, 2, 3))
    assert sight.open(is_whole_needed=False) == [Viewport(())]

    sight.name([one])
    assert sight.take_due(1000) == Viewport((one,))
    sight.name([two])
    sight.name([three])
    assert sight.due_ms == 1000 + VIEWPORT_INTERVAL_MS
    assert sight.take_due(1000 + VIEWPORT_INTERVAL_MS - 1) is None
    assert sight.take_due(1000 + VIEWPORT_INTERVAL_MS) == Viewport((three,))
    assert (sight.due_ms, sight.take_due(10_000)) == (None, None)


def test_it_says_again_what_the_server_would_not_hear():
    book = Book(limits=Limits(viewport_blocks_per_s=1, viewport_blocks_burst=12))
    book.show(book.reader[0])
    book.show(book.reader[-1])

    assert book.reader[-1].is_loaded


def test_a_notice_of_a_rate_puts_nothing_off_where_nothing_was_named():
    sight = Sight()
    sight.put_off(5000)
    assert sight.due_ms is None


def test_no_more_is_named_than_a_viewport_holds():
    sight = Sight(is_lazy=True)
    sight.add([OpId(7, i + 1) for i in range(VIEWPORT_BLOCKS_MAX + 1)])

    assert sight.named is not None
    assert len(sight.named) == VIEWPORT_BLOCKS_MAX
    assert OpId(7, 1) not in sight.named


def test_a_server_that_leaves_something_out_unasked_breaks_the_protocol():
    world = RoomWorld(False)
    message = ServerMessage(contents=(Contents(b"", (OpId(7, 1),)),))
    with pytest.raises(RemoteProtocolError):
        world.rooms[0].receive_message(message)
    world.rooms[0].receive_message(ServerMessage(notices=(Notice("rate", "", 5),)))


def test_filtered_parts_are_one_log():
    def run(seq: int, count: int) -> StoredEnvelope:
        ops = tuple(MapSet(ROOT, f"{seq + i}", 1) for i in range(count))
        return StoredEnvelope(seq, 7, "ann", Envelope(seq, 0, seq + 100, ops))

    found = list(merged([run(9, 2), run(3, 4), run(5, 4), run(4, 2), run(20, 1), run(20, 1)]))

    assert [(each.seq, each.last_seq) for each in found] == [(3, 6), (7, 8), (9, 10), (20, 20)]
    keys = [op.key for each in found for op in each.envelope.ops if isinstance(op, MapSet)]
    assert keys == ["3", "4", "5", "6", "7", "8", "9", "10", "20"]
    assert {each.envelope.counter - each.seq for each in found} == {0}
    assert {each.envelope.hlc - each.seq for each in found} == {100}
    assert all(a.last_seq < b.seq for a, b in pairwise(found))


def test_states_without_documents_have_nothing_to_load():
    assert loaded_since(RoomState(), RoomState()) == Loaded((), ())


def test_a_doc_is_sliced_as_a_list_is():
    book = Book(5)
    doc: Doc = book.author
    assert [block.text for block in doc[1:3]] == ["paragraph 1", "paragraph 2"]
