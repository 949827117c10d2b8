"""JSON as RFC 8259 has it: Python's reader takes more, and each implementation something else."""

from __future__ import annotations

import json
import math
from typing import NoReturn


def strict_decoder(int_chars_max: int) -> json.JSONDecoder:
    """A decoder that refuses ``NaN`` and ``Infinity``, and floats and integers that are too large, by a ``ValueError``.

    Args:
        int_chars_max: Length of an integer, its sign included.
    """

    def read_int(text: str) -> int:
        if len(text) > int_chars_max:
            raise ValueError(f"an integer of {len(text)} digits")
        return int(text)

    return json.JSONDecoder(parse_float=_finite, parse_int=read_int, parse_constant=_refuse)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is too large")
    return value


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")
