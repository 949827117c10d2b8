"""A script that is killed while the server is away loses no edit, and sends none twice."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest

import collabkernel as ck
from collabkernel.client import queue_file
from collabkernel.client.queue_file import QueueFile, QueueLockedError
from tests.client import offline_child
from tests.server_extension.running_server import RunningServer


def port_of(server: RunningServer) -> int:
    return int(server.base_url.split(":")[2].split("/")[0])


def test_kill_minus_nine_offline_loses_nothing(tmp_path):
    server = RunningServer(tmp_path / "server")
    queue = tmp_path / "queue"
    command = [sys.executable, offline_child.__file__, server.base_url, server.token, str(queue)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "joined\n"
    server.process.kill()
    server.process.wait(10)
    child.stdin.write("go\n")
    child.stdin.flush()
    assert child.stdout.readline() == "edited\n"
    child.kill()
    child.wait(10)
    server = RunningServer(tmp_path / "server", port=port_of(server))
    try:
        # A process of its own has no cookie of the first one: the server takes it for somebody else, so the site is
        # not resumed but its edits are made again.
        with ck.connect("offline", url=server.base_url, token=server.token, offline_queue=queue) as room:
            room.flush()
            room.list("items").append("after")
            room.flush()
        with ck.connect("offline", url=server.base_url, token=server.token, offline_queue=queue) as room:
            assert room.list("items") == ["online", *range(100), "after"]
    finally:
        server.process.kill()
        server.process.wait(10)


def test_the_kernels_token_resumes_the_very_site(jupyter, tmp_path):
    queue = tmp_path / "queue"
    with ck.connect("queued", url=jupyter.base_url, token=jupyter.kernel_token, offline_queue=queue) as room:
        room.list("items").append(1)
        site = room.site

    with ck.connect("queued", url=jupyter.base_url, token=jupyter.kernel_token, offline_queue=queue) as room:
        room.list("items").append(2)
        room.flush()
        assert room.site == site
        assert room.list("items") == [1, 2]


def test_a_full_disk_ends_no_edit_and_is_made_up_for(tmp_path, monkeypatch, caplog):
    path = tmp_path / "queue"

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space")

    with ck.connect("full", url="memory://", offline_queue=path) as room:
        with monkeypatch.context() as disk:
            disk.setattr(queue_file.os, "write", full)
            disk.setattr(queue_file.os, "fsync", full)
            room.root.a = 1
            room.flush()
            room.root.b = 2
            room.flush()
        room.root.c = 3
        room.flush()
        assert room.status == "live"
        assert room.to_json() == {"a": 1, "b": 2, "c": 3}
        next_counter = room.replica.pending.next_counter
    assert caplog.text.count("cannot be written") == 1

    queue = QueueFile(path, "full")
    stored = queue.stored()
    queue.close()
    assert (stored.next_counter, stored.envelopes) == (next_counter, ())


def test_what_the_server_has_answered_leaves_the_file(tmp_path):
    path = tmp_path / "queue"
    with ck.connect("answered", url="memory://", offline_queue=path) as room:
        room.root.a = 1
        room.root.b = [1, 2]
        room.flush()
        with pytest.raises(QueueLockedError):
            ck.connect("answered", url="memory://", offline_queue=path)
        site, next_counter = room.site, room.replica.pending.next_counter

    queue = QueueFile(path, "answered")
    stored = queue.stored()
    queue.close()
    assert (stored.site, stored.next_counter, stored.envelopes) == (site, next_counter, ())
