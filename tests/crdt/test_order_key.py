"""Order keys: always between, never another's, runs of several authors kept apart."""

from __future__ import annotations

import re
from bisect import bisect_left
from itertools import groupby, pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.crdt.order_key import key_again, key_between, validate
from collabkernel.errors import InvalidOperationError, InvalidValueError
from collabkernel.limits import ORDER_KEY_BYTES_MAX, SITE_MAX
from tests.examples import examples

pytestmark = pytest.mark.core

SITES = (1, 2, 77, SITE_MAX)
inserts = st.lists(st.tuples(st.floats(0, 1), st.sampled_from(SITES)), max_size=25)
turns = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def built(places: list[tuple[float, int]]) -> list[str]:
    """The keys of inserts at places of a growing list."""
    keys: list[str] = []
    for place, site in places:
        insert(keys, round(place * len(keys)), site)
    return keys


def insert(keys: list[str], at: int, site: int) -> str:
    left = keys[at - 1] if at else None
    right = keys[at] if at < len(keys) else None
    keys.insert(at, key_between(left, right, site))
    return keys[at]


@examples(100)
@given(inserts)
def test_keys_are_between_their_neighbours_and_valid(places: list[tuple[float, int]]):
    keys: list[str] = []
    for place, site in places:
        key = insert(keys, round(place * len(keys)), site)
        validate(key, site)
        assert re.fullmatch("[0-9A-Za-z]*[1-9A-Za-z]", key)
        for other in set(SITES) - {site}:
            with pytest.raises(InvalidOperationError):
                validate(key, other)
    assert keys == sorted(set(keys))


def come_back(keys: list[str], gone: list[int], site: int) -> list[int]:
    """In which order the keys stand when a site has put back those that were gone, one after the other."""
    there = [(key, number) for number, key in enumerate(keys) if number not in gone]
    for number in gone:
        at = bisect_left([key for key, _ in there], keys[number])
        left = there[at - 1][0] if at else None
        right = there[at][0] if at < len(there) else None
        key = key_again(keys[number], left, right, site)
        validate(key, site)
        assert left is None or left < key
        assert right is None or key < right
        there.insert(at, (key, number))
    return [number for _, number in there]


@examples(60)
@given(st.lists(st.sampled_from(SITES), min_size=1, max_size=20), st.randoms(), st.sampled_from(SITES))
def test_what_was_written_one_after_the_other_comes_back_in_that_order(sites: list[int], rng: Random, site: int):
    keys = built([(1.0, each) for each in sites])
    gone = rng.sample(range(len(keys)), rng.randrange(1, len(keys) + 1))
    assert come_back(keys, gone, site) == list(range(len(keys)))


@examples(60)
@given(inserts, st.randoms(), st.sampled_from(SITES))
def test_what_comes_back_is_between_its_neighbours(places: list[tuple[float, int]], rng: Random, site: int):
    keys = built(places)
    come_back(keys, rng.sample(range(len(keys)), len(keys)), site)


def test_an_own_key_comes_back_as_it_was():
    first = key_between(None, None, 7)
    second = key_between(first, None, 7)
    assert key_again(first, None, second, 7) == first
    assert first < key_again(first, first, second, 7) < second, "it is taken"


@examples(150)
@given(inserts, st.floats(0, 1), st.lists(turns, min_size=2, max_size=4))
def test_concurrent_runs_at_one_place_neither_collide_nor_interleave(
    places: list[tuple[float, int]], place: float, runs: list[list[float]]
):
    base = built(places)
    at = round(place * len(base))
    author_by_key: dict[str, int] = {}
    for site, run in zip(SITES, runs, strict=False):
        # The author does not see the other runs; his first insert is at the place, the others at or in his own run.
        keys = list(base)
        for count, turn in enumerate(run):
            key = insert(keys, at + round(turn * count), site)
            assert key not in author_by_key
            author_by_key[key] = site
    merged = sorted(author_by_key)

    assert len([site for site, _ in groupby(author_by_key[key] for key in merged)]) == len(runs)


@pytest.mark.parametrize("backwards", [False, True])
def test_a_long_run_keeps_short_keys(backwards: bool):
    keys: list[str] = []
    for _ in range(5000):
        insert(keys, 0 if backwards else len(keys), 5)

    assert max(map(len, keys)) <= 12
    assert keys == sorted(set(keys))


@pytest.mark.parametrize("backwards", [False, True])
def test_two_people_in_turn_keep_short_keys(backwards: bool):
    keys: list[str] = []
    for i in range(400):
        insert(keys, 0 if backwards else len(keys), SITES[i % 2])

    assert max(map(len, keys)) <= 24


def test_in_the_middle_two_people_in_turn_keep_short_keys():
    keys = [key_between(None, None, 3)]
    insert(keys, 1, 4)
    for i in range(400):
        insert(keys, 1 + i, SITES[i % 2])

    assert max(map(len, keys)) <= 40


def test_a_zigzag_ends_with_a_clear_error():
    keys = [key_between(None, None, 3)]
    insert(keys, 1, 4)
    at = 1
    for i in range(80):
        insert(keys, at, 5)
        at += i % 2
    assert max(map(len, keys)) <= ORDER_KEY_BYTES_MAX
    with pytest.raises(InvalidValueError, match="rebalance"):
        built([(0.5, 5 + i) for i in range(200)])


def test_translated_keys_are_good_neighbours():
    keys = built([(1.0, 1)] * 3)
    older = built([(1.0, 2)] * 3)
    translated = [keys[1] + key for key in older]
    everything = [keys[0], keys[1], *translated, keys[2]]

    assert everything == sorted(everything)
    for left, right in pairwise(everything):
        for site in SITES:
            key = key_between(left, right, site)
            assert left < key < right
            validate(key, site)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "V",
        "y",
        "y000001",
        "y000001a",
        "y000001a0",
        "y000001a0VV",
        "y000001a0V0",
        "y000001aé",
        "y000001aéV",
        "x000001a0V",
        "za0V",
        "y000001a0y000001a0V",
        "yzzzzzza0V",
        "y0000010V",
        "y000001z0V",
        "y000001a0V" * 30,
    ],
)
def test_what_is_no_key_is_refused(key: str):
    with pytest.raises(InvalidOperationError):
        validate(key, 1)


def test_a_key_of_the_grammar_is_taken():
    validate("y000001a0V", 1)
    validate("y000001a02000002Zzx" + "a0V", 2)


def test_bad_neighbours_are_the_callers_fault():
    key = key_between(None, None, 1)

    with pytest.raises(InvalidValueError):
        key_between(key, key, 1)
    with pytest.raises(InvalidValueError):
        key_between("nonsense", None, 1)
    with pytest.raises(InvalidValueError):
        key_between(None, None, SITE_MAX + 1)


@examples(100)
@given(st.text(max_size=40))
def test_any_text_is_a_key_or_refused(text: str):
    try:
        validate(text, 1)
    except InvalidOperationError:
        return
    assert key_between(None, text, 2) < text < key_between(text, None, 2)
