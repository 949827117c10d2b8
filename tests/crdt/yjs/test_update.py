"""The validator: what hurts is refused with a reason, what honest clients send is let through."""

from __future__ import annotations

import contextlib
import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycrdt import Doc, Text

from collabkernel.crdt.text import TextRope
from collabkernel.crdt.yjs.parse import first_clock, write_uint
from collabkernel.crdt.yjs.policy import TEXT_POLICY
from collabkernel.crdt.yjs.update import YjsState
from collabkernel.errors import InvalidYjsUpdateError
from collabkernel.limits import YJS_CLOCK_MAX
from tests.examples import examples

FIXTURE = json.loads((Path(__file__).parents[2] / "fixtures/yjs/refused.json").read_text())
ROOT = b"\x01\x04text"
CHUNKS = ("a", "bc", "ä", "漢字", "😀", "x😀y🎉", "\n", "\0")


def state_of(*updates: bytes, client: int = 1) -> YjsState:
    state = YjsState()
    for update in updates:
        state.commit(state.check(update, client))
    return state


def typed(client: int, clock: int, text: str) -> bytes:
    """An update with one string at the start of the text."""
    raw = text.encode()
    head = b"\x01\x01" + write_uint(client) + write_uint(clock) + b"\x04" + ROOT
    return head + write_uint(len(raw)) + raw + b"\x00"


@pytest.mark.parametrize("case", FIXTURE["refused"], ids=lambda case: case["name"])
def test_what_hurts_is_refused_with_a_reason(case: dict[str, str]):
    state = state_of(bytes.fromhex(FIXTURE["setup"]))

    with pytest.raises(InvalidYjsUpdateError) as refused:
        state.check(bytes.fromhex(case["hex"]), 2)

    assert str(refused.value).startswith(case["says"])


def test_a_refusal_changes_nothing():
    state = state_of(bytes.fromhex(FIXTURE["setup"]))
    before = (dict(state.clocks), state.order.to_list())

    for case in FIXTURE["refused"]:
        with pytest.raises(InvalidYjsUpdateError):
            state.check(bytes.fromhex(case["hex"]), 2)

    state.check(typed(2, 0, "x"), 2)
    state.check(typed(2, 0, "y"), 2)
    state.commit(state.check(b"\x00\x01\x01\x01\x00\x01", 2))
    assert (dict(state.clocks), state.order.to_list()) == before


def test_every_prefix_of_an_update_is_refused():
    rope = TextRope(0xDEADBEEF)
    updates = [rope.insert(0, "hällo 😀"), rope.format(1, 4, {"bold": True, "n": 1}), rope.splice(2, 2, "x")]
    state = YjsState()

    for update in updates:
        for end in range(len(update)):
            with pytest.raises(InvalidYjsUpdateError):
                state.check(update[:end], 0xDEADBEEF)
        state.commit(state.check(update, 0xDEADBEEF))


def test_the_summary_says_what_an_update_brings():
    found = YjsState().check(typed(5, 0, "ä😀b"), 5)

    assert found.clocks == {5: 4}
    assert found.inserted_chars == 3
    assert not found.is_ascii
    assert found.low_surrogates == ((5, 2),)
    assert found.deleted == ()


def test_deletes_are_told_as_ranges():
    state = state_of(typed(1, 0, "hello"))

    assert state.check(b"\x00\x01\x01\x02\x00\x01\x03\x02", 2).deleted == ((1, 0, 1), (1, 3, 2))


def test_an_update_that_was_applied_is_refused_as_known():
    update = typed(1, 0, "hello")

    with pytest.raises(InvalidYjsUpdateError, match="is known already; the next is 5"):
        state_of(update).check(update, 1)


def test_clocks_end_before_2_to_the_31():
    state = YjsState()
    state.commit(state.check(b"\x01\x01\x01\x00\x01" + ROOT + write_uint(YJS_CLOCK_MAX - 1) + b"\x00", 1))

    last = state.check(b"\x01\x01\x01" + write_uint(YJS_CLOCK_MAX - 1) + b"\x04" + ROOT + b"\x01a\x00", 1)
    with pytest.raises(InvalidYjsUpdateError, match="is over 2147483647"):
        state.check(b"\x01\x01\x01" + write_uint(YJS_CLOCK_MAX - 1) + b"\x04" + ROOT + b"\x02ab\x00", 1)

    assert last.clocks == {1: YJS_CLOCK_MAX}


def test_format_keys_of_a_document_are_bounded():
    state = state_of(typed(1, 0, "a"))
    for number in range(TEXT_POLICY.format_keys_max):
        key = f"k{number}".encode()
        update = b"\x01\x01\x01" + write_uint(number + 1) + b"\x46\x01\x00" + bytes([len(key)]) + key + b"\x04true\x00"
        state.commit(state.check(update, 1))

    with pytest.raises(InvalidYjsUpdateError, match="over 64 different format keys"):
        state.check(b"\x01\x01\x02\x00\x46\x01\x00\x03new\x04true\x00", 2)
    state.check(b"\x01\x01\x02\x00\x46\x01\x00\x02k1\x04true\x00", 2)


def test_structs_and_ranges_of_one_update_are_bounded():
    state = state_of(typed(1, 0, "a" * 30_000))
    many = TEXT_POLICY.structs_max
    ranges = b"".join(write_uint(2 * number) + b"\x01" for number in range(many + 1))

    with pytest.raises(InvalidYjsUpdateError, match="10001 structs in one update"):
        state.check(b"\x01" + write_uint(many + 1) + b"\x02\x00" + b"\x81\x01\x00\x01" * (many + 1) + b"\x00", 2)
    with pytest.raises(InvalidYjsUpdateError, match="10001 delete ranges in one update"):
        state.check(b"\x00\x01\x01" + write_uint(many + 1) + ranges, 2)


def test_first_clock_reads_the_head_alone():
    assert first_clock(typed(300, 0, "x"), 300) == 0
    assert first_clock(typed(300, 9, "x")[:8], 300) == 9
    assert first_clock(typed(300, 0, "x"), 4) is None
    assert first_clock(b"\x00\x01\x01\x01\x00\x01", 300) is None


def test_a_stored_state_may_have_many_clients_and_be_empty():
    doc: Doc[Text] = Doc()
    for client in (1, 2, 3):
        other: Doc[Text] = Doc(client_id=client)
        other.apply_update(doc.get_update())
        other.get("text", type=Text).insert(0, "hello 😀"[:client])
        doc.apply_update(other.get_update())
    state = YjsState()

    state.commit(state.check(doc.get_update(), None))

    assert state.clocks == {1: 1, 2: 2, 3: 3}
    assert YjsState().check(b"\x00\x00", None).clocks == {}
    with pytest.raises(InvalidYjsUpdateError, match="named but not there"):
        YjsState().check(b"\x01\x01\x01\x00\x84\x02\x00\x01a\x00", None)
    with pytest.raises(InvalidYjsUpdateError, match="in an empty document"):
        state.check(doc.get_update(), None)


@examples(30)
@given(rng=st.randoms(use_true_random=False))
def test_honest_texts_pass_in_any_causal_order(rng: random.Random):
    ropes = {client: TextRope(client) for client in (3, 0xFFFFFFFF, 70, 70000)[: rng.randint(2, 4)]}
    log: list[tuple[int, bytes]] = []
    seen = dict.fromkeys(ropes, 0)

    def deliver(client: int, end: int) -> None:
        for author, update in log[seen[client] : end]:
            if author != client:
                ropes[client].apply(update, author)
        seen[client] = max(seen[client], end)

    for _ in range(rng.randint(5, 30)):
        author = rng.choice(list(ropes))
        if update := honest_edit(rng, ropes[author]):
            log.append((author, update))
        for client in ropes:
            if rng.random() < 0.3:
                deliver(client, rng.randint(0, len(log)))
    for client in ropes:
        deliver(client, len(log))

    server = TextRope(1)
    for author, update in log:
        server.apply(update, author)
    reloaded = TextRope.from_state(server.encode_state(), 2)
    assert {rope.text for rope in ropes.values()} == {server.text} == {reloaded.text}
    assert reloaded.state_vector() == server.state_vector()


def honest_edit(rng: random.Random, rope: TextRope) -> bytes:
    start = rng.randint(0, len(rope))
    end = min(len(rope), start + rng.randint(0, 4))
    match rng.randrange(6):
        case 0:
            return rope.format(start, end, {"bold": rng.choice((True, None)), "n": rng.randint(0, 2)})
        case 1:
            return rope.delete(start, end - start)
        case 2:
            return rope.splice(start, end - start, rng.choice(CHUNKS), {"bold": True})
        case 3 if (step := rope.take_step()) is not None:
            return rope.undo(step).update
        case _:
            return rope.insert(start, rng.choice(CHUNKS))


@examples(200)
@given(st.binary(max_size=40), st.booleans())
def test_any_bytes_are_read_or_refused(data: bytes, is_stored: bool):
    state = state_of(bytes.fromhex(FIXTURE["setup"]))

    for text_state in (state, YjsState()):
        with contextlib.suppress(InvalidYjsUpdateError):
            text_state.check(data, None if is_stored else 2)
