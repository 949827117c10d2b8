"""Line endings come back as they were."""

from __future__ import annotations

import pytest
from collabkernel_server.lab.line_endings import restored, to_lf
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.core


@given(st.text(alphabet="ab\r\n", max_size=30))
def test_an_unedited_file_is_itself_again(file_text):
    assert restored(to_lf(file_text), file_text) == file_text


@given(st.text(alphabet="ab\n", max_size=30), st.text(alphabet="ab\r\n", max_size=30))
def test_what_is_edited_is_the_same_text(text, file_text):
    assert to_lf(restored(text, file_text)) == text


def test_a_new_line_gets_the_usual_ending():
    assert restored("a\nnew\nb\n", "a\r\nb\r\n") == "a\r\nnew\r\nb\r\n"
    assert restored("a\nb\nnew\nc\n", "a\r\nb\nc\r\n") == "a\r\nb\nnew\r\nc\r\n"
    assert restored("a\nB\nc\n", "a\r\nb\nc\r\n") == "a\r\nB\nc\r\n"
