"""Run by ``test_file_room.py``: joins a room with a queue, says so, edits once the server is gone, and waits to die."""

from __future__ import annotations

import sys

import collabkernel as ck


def main(url: str, token: str, queue: str) -> None:
    room = ck.connect("offline", url=url, token=token, offline_queue=queue)
    room.list("items").append("online")
    room.flush()
    print("joined", flush=True)
    sys.stdin.readline()
    for i in range(100):
        room.list("items").append(i)
    print("edited", flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main(*sys.argv[1:])
