"""What people run in their notebooks."""

from __future__ import annotations


def board(room: str, shown: str = "room.root") -> str:
    """Join a room with a list of tasks and a note, and show it."""
    return f"""\
import collabkernel as ck
room = ck.connect("{room}")
tasks, notes = room.list("tasks"), room.text("notes")
{shown}"""
