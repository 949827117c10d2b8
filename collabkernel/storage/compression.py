"""Large values as they are stored: compressed with zstd."""

from __future__ import annotations

import asyncio

import zstandard

from collabkernel.errors import StorageError

ZSTD_LEVEL = 3
"""zstd's own default: about 300 MB/s."""
IN_THREAD_BYTES = 64 << 10
"""Below, compressing takes less than handing it to a thread and back."""


def compress(data: bytes) -> bytes:
    """The stored form."""
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(data)


def decompress(data: bytes, what: str) -> bytes:
    """The value.

    Raises:
        StorageError: If it is damaged; ``what`` says what it was.
    """
    try:
        return zstandard.ZstdDecompressor().decompress(data)
    except zstandard.ZstdError as error:
        raise StorageError(f"{what} is damaged: {error}") from error


async def compressed(data: bytes) -> bytes:
    """The stored form, made beside the loop when it is large."""
    return compress(data) if len(data) < IN_THREAD_BYTES else await asyncio.to_thread(compress, data)
