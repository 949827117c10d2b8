"""Memory that was freed goes back to the system; each test asks a process in which nobody else allocates."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from tests.bounds import HANG_S

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc is told")

# ``hblks`` of glibc's malloc.h counts the buffers that are pages of their own.
LARGE = """
import ctypes
from collabkernel_server.heap import keep_little

class Mallinfo2(ctypes.Structure):
    _fields_ = (("before", ctypes.c_size_t * 3), ("hblks", ctypes.c_size_t), ("behind", ctypes.c_size_t * 6))

mallinfo2 = ctypes.CDLL("libc.so.6").mallinfo2
mallinfo2.restype = Mallinfo2

keep_little()
bytes(24 << 20)
before = mallinfo2().hblks
held = [bytes(20 << 20) for _ in range(3)]

assert mallinfo2().hblks - before == len(held)
"""
BETWEEN = """
import asyncio, os
from pathlib import Path
from collabkernel_server.heap import LARGE_BYTES, give_back_after

def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

blocks = [bytes(8000) for _ in range(5000)]
held = blocks[::100]
del blocks
before = resident_bytes()

asyncio.run(give_back_after(LARGE_BYTES - 1))
kept = resident_bytes()
asyncio.run(give_back_after(LARGE_BYTES))

assert len(held) == 50
assert before - kept < 5_000_000, (before, kept)
assert kept - resident_bytes() > 20_000_000, (kept, resident_bytes())
"""


def run(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=HANG_S)
    assert done.returncode == 0, done.stderr


def test_large_buffers_stay_pages_of_their_own_after_a_larger_one_was_freed() -> None:
    run(LARGE)


def test_what_is_free_between_what_is_not_goes_back_too_after_much_work() -> None:
    run(BETWEEN)
