"""What is stored is read back, and damage is told."""

from __future__ import annotations

import random

import pytest

from collabkernel.errors import StorageError
from collabkernel.storage.compression import IN_THREAD_BYTES, compress, compressed, decompress

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("size", [0, 1, IN_THREAD_BYTES, 3 * IN_THREAD_BYTES])
async def test_a_value_comes_back(size: int):
    value = random.Random(3).randbytes(size)

    assert decompress(await compressed(value), "it") == value


def test_damage_is_told():
    with pytest.raises(StorageError, match="the thing is damaged"):
        decompress(compress(b"hello" * 100)[:-3], "the thing")
