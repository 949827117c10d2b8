"""The base of a file that somebody wrote back is what he had read."""

from __future__ import annotations

import pytest
from collabkernel_server.lab.content import encode_base, merged
from collabkernel_server.lab.recent_saves import RECENT_BYTES, RECENT_MS, RECENT_SAVES, RecentSaves

from tests.server_extension.lab.file_world import notebook

pytestmark = pytest.mark.core


def saves_of(*contents):
    recent = RecentSaves()
    for index, content in enumerate(contents):
        recent.add(f"hash {index}", encode_base(content), index)
    return recent


@pytest.mark.parametrize(
    ("read", "now", "written", "expected"),
    [
        ("a\nb\n", "a\nb\ntyped\nmore\n", "zero\na\nb\n", "zero\na\nb\ntyped\nmore\n"),
        (notebook("a"), notebook("a", "typed"), notebook("a\nb"), notebook("a\nb", "typed")),
    ],
    ids=["text", "notebook"],
)
def test_what_was_saved_after_somebody_read_the_file_is_kept(read, now, written, expected):
    type_name = "file" if isinstance(read, str) else "notebook"
    recent = saves_of(read, now)

    base = recent.base_of(encode_base(now), "another", written, 10)

    assert merged(type_name, base, now, written) == expected


def test_who_goes_back_to_an_earlier_content_deletes_on_purpose():
    recent = saves_of("a\n", "a\ntyped\n")

    base = recent.base_of(b"a\ntyped\n", "hash 0", "a\n", 10)

    assert merged("file", base, "a\ntyped\n", "a\n") == "a\n"


def test_who_read_the_last_save_is_merged_with_that():
    recent = saves_of("a\n", "a\nb\nc\n")

    assert recent.base_of(b"a\nb\nc\n", "another", "a\nb\nd\n", 10) == b"a\nb\nc\n"
    assert recent.base_of(None, "another", "x", 10) is None


def test_they_are_bounded_in_time_number_and_size():
    recent = saves_of("a\n", "a\ntyped\n")
    assert recent.base_of(b"a\ntyped\n", "another", "0\na\n", RECENT_MS + 2) == b"a\ntyped\n"

    for index in range(2 * RECENT_SAVES):
        recent.add(str(index), b"x", 0)
    assert len(recent) == RECENT_SAVES
    recent.add("large", b"x" * RECENT_BYTES, 0)
    assert len(recent) == 1
