"""What Python's JSON takes beyond JSON is refused."""

from __future__ import annotations

import pytest

from collabkernel.crdt.strict_json import strict_decoder

DECODER = strict_decoder(5)


@pytest.mark.parametrize("text", ['{"a": [1, 2.5, null]}', "-1234", "12345", "1e308", '"NaN"'])
def test_json_is_read(text: str) -> None:
    assert repr(DECODER.decode(text)) == repr(eval(text, {"null": None}))


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "1e999", "123456", "-12345", "[1,]", "", "{'a': 1}"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # whose message is Python's
        DECODER.decode(text)
