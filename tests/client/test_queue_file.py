"""The queue on disk: what is written is there again, a torn end is cut off, one process has it."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys

import pytest

from collabkernel.client.queue_file import COMPACT_FROM_BYTES, QueueFile, QueueLockedError, decode_envelope
from collabkernel.crdt.ids import ROOT
from collabkernel.document.operations import Envelope, MapSet
from collabkernel.errors import LocalProtocolError, MalformedFrameError
from collabkernel.wire.ops import envelope_bytes
from tests.bounds import HANG_S

SECRET = b"s" * 16


def envelope(counter: int, count: int = 1, size: int = 1) -> Envelope:
    ops = tuple(MapSet(ROOT, "k", "x" * size) for _ in range(count))
    return Envelope(counter, 0, 5, ops)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "queue"


def test_a_new_queue_has_no_site(path):
    queue = QueueFile(path, "room")

    assert queue.stored() is None
    queue.close()
    queue.close()
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_what_is_unanswered_is_there_again(path):
    queue = QueueFile(path, "room")
    queue.begin(7, SECRET, 1, [])
    for each in (envelope(1), envelope(2, 3), envelope(5)):
        queue.add(envelope_bytes(each))
    queue.answered_below(2)
    assert queue.is_dirty
    queue.sync()
    assert not queue.is_dirty
    queue.close()

    stored = QueueFile(path, "room").stored()

    assert stored is not None
    assert (stored.site, stored.secret, stored.next_counter) == (7, SECRET, 6)
    assert stored.envelopes == (envelope(2, 3), envelope(5))


def test_a_new_site_makes_the_old_one_void(path):
    queue = QueueFile(path, "room")
    queue.begin(7, SECRET, 1, [])
    queue.add(envelope_bytes(envelope(1)))
    queue.begin(8, SECRET, 4, [envelope_bytes(envelope(3))])
    queue.close()

    stored = QueueFile(path, "room").stored()

    assert stored is not None
    assert (stored.site, stored.envelopes) == (8, (envelope(3),))


@pytest.mark.parametrize("cut", range(1, 30))
def test_a_torn_record_is_cut_off(path, cut):
    queue = QueueFile(path, "room")
    queue.begin(7, SECRET, 1, [])
    queue.add(envelope_bytes(envelope(1)))
    queue.close()
    whole = path.stat().st_size
    queue = QueueFile(path, "room")
    queue.add(envelope_bytes(envelope(2)))
    queue.close()
    os.truncate(path, max(whole, path.stat().st_size - cut))

    queue = QueueFile(path, "room")
    assert queue.stored().envelopes == (envelope(1),)
    queue.add(envelope_bytes(envelope(2)))
    queue.close()
    assert QueueFile(path, "room").stored().envelopes == (envelope(1), envelope(2))


def test_what_a_full_disk_does_not_take_leaves_the_file_as_it_was(path, monkeypatch):
    queue = QueueFile(path, "room")
    queue.begin(7, SECRET, 1, [envelope_bytes(envelope(1))])
    write, left = os.write, [20]

    def write_some(descriptor: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, "no space")
        taken = data[: left[0]]
        left[0] -= len(taken)
        return write(descriptor, taken)

    with monkeypatch.context() as disk:
        disk.setattr(os, "write", write_some)
        with pytest.raises(OSError, match="no space"):
            queue.add(envelope_bytes(envelope(2)))
        left[0] = 40
        with pytest.raises(OSError, match="no space"):
            queue.begin(8, SECRET, 1, [envelope_bytes(envelope(1))] * 3)
    queue.add(envelope_bytes(envelope(2)))
    queue.close()

    stored = QueueFile(path, "room").stored()
    assert stored.site == 7
    assert [each.counter for each in stored.envelopes] == [1, 2]


def test_damage_ends_the_queue_there(path):
    queue = QueueFile(path, "room")
    queue.begin(7, SECRET, 1, [])
    good = path.stat().st_size
    queue.add(envelope_bytes(envelope(1)))
    queue.close()
    data = bytearray(path.read_bytes())
    data[good + 12] ^= 1
    path.write_bytes(data)

    assert QueueFile(path, "room").stored().envelopes == ()


def test_a_queue_belongs_to_a_room(path):
    QueueFile(path, "room").close()

    with pytest.raises(LocalProtocolError, match="is the queue of the room 'room'"):
        QueueFile(path, "other")


def test_one_at_a_time_has_it(path):
    queue = QueueFile(path, "room")

    with pytest.raises(QueueLockedError, match="in use"):
        QueueFile(path, "room")
    code = f"from collabkernel.client.queue_file import QueueFile; QueueFile({str(path)!r}, 'room')"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HANG_S)
    assert "QueueLockedError" in child.stderr
    queue.close()
    QueueFile(path, "room").close()


def test_a_large_file_with_nothing_pending_begins_anew(path):
    queue = QueueFile(path, "room")
    queue.begin(7, SECRET, 1, [])
    queue.add(envelope_bytes(envelope(1, size=COMPACT_FROM_BYTES)))
    queue.answered_below(2)
    queue.compact(2)
    queue.add(envelope_bytes(envelope(2)))
    queue.close()

    assert path.stat().st_size < 1000
    stored = QueueFile(path, "room").stored()
    assert (stored.site, stored.next_counter, stored.envelopes) == (7, 3, (envelope(2),))


def test_only_envelopes_are_decoded():
    assert decode_envelope(envelope_bytes(envelope(1))) == envelope(1)
    with pytest.raises(MalformedFrameError):
        decode_envelope(b"\xff")
