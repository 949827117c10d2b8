"""The demonstration of the command line: two people and an agent edit one board through a hub in this process.

Each panel shows one client's own replica, not a shared picture: what stands in all three has travelled.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from collabkernel import aio
from collabkernel.client.live_list import LiveList
from collabkernel.client.live_object import LiveObject
from collabkernel.client.room_base import RoomBase

ROOM_URL = "memory://"
CONVERGED_WITHIN_S = 10.0
SHOWN_BEATS = 6
STYLE_BY_NAME = {"Ann": "bright_cyan", "Bob": "bright_yellow", "Robin": "bright_magenta"}
KIND_BY_NAME: dict[str, aio.Kind] = {"Ann": "person", "Bob": "person", "Robin": "agent"}


@dataclass(frozen=True, slots=True)
class Beat:
    """One edit of one of them."""

    who: str
    says: str
    edit: Callable[[RoomBase], object]


class Task(LiveObject):
    """A line of the board."""

    title: str
    done: bool = False


def _tasks(room: RoomBase) -> LiveList[Task]:
    return room.list("tasks", Task)


def _add(title: str) -> Callable[[RoomBase], object]:
    return lambda room: _tasks(room).append(Task(title=title))


def _extend(index: int, more: str) -> Callable[[RoomBase], object]:
    def edit(room: RoomBase) -> None:
        _tasks(room)[index].title += more

    return edit


def _finish(index: int) -> Callable[[RoomBase], object]:
    def edit(room: RoomBase) -> None:
        _tasks(room)[index].done = True

    return edit


def _type(text: str) -> Callable[[RoomBase], object]:
    return lambda room: room.text("notes").append(text)


# The beats of one scene are made at once, before any of them has reached the others.
STORY: tuple[tuple[Beat, ...], ...] = (
    (Beat("Ann", "adds a task", _add("Book the room")),),
    (Beat("Bob", "adds another", _add("Invite the speakers")),),
    (
        Beat("Ann", "adds one", _add("Print the badges")),
        Beat("Bob", "adds one at the same moment", _add("Order the coffee")),
    ),
    (Beat("Robin", "takes notes", _type("Two tasks came in at once; both are there. ")),),
    (
        Beat("Ann", "moves the last task to the top", lambda room: _tasks(room).move(3, 0)),
        Beat("Bob", "gives that same task a date meanwhile", _extend(3, ", by Friday")),
    ),
    (Beat("Robin", "ticks off the first task", _finish(0)),),
    (
        Beat("Ann", "writes into the notes", _type("Ann was here. ")),
        Beat("Robin", "writes into the notes too", _type("So was Robin. ")),
    ),
    (Beat("Ann", "adds a doubt", _extend(1, "?")),),
    (Beat("Ann", "undoes it; nobody else's edits are touched", lambda room: room.history.undo()),),
    (Beat("Ann", "adds the last one", _add("Celebrate")),),
)


def run_demo(seconds: float, console: Console | None = None) -> None:
    """Play the story in about ``seconds``, and check that all three have the same in the end."""
    asyncio.run(_play(seconds, console or Console()))


async def _play(seconds: float, console: Console) -> None:
    async with AsyncExitStack() as stack:
        rooms: dict[str, Any] = {}
        for name, kind in KIND_BY_NAME.items():
            rooms[name] = await stack.enter_async_context(
                aio.connect("collabkernel-demo", url=ROOM_URL, name=name, kind=kind)
            )
        told: deque[Beat] = deque(maxlen=SHOWN_BEATS)
        pause_s = seconds / len(STORY)
        if console.is_terminal:
            with Live(console=console, get_renderable=lambda: _picture(rooms, told), refresh_per_second=12):
                await _tell(rooms, told, pause_s, lambda _: None)
        else:
            await _tell(rooms, told, pause_s, lambda beat: console.print(_line(beat)))
            console.print(_board(rooms["Ann"]))
        console.print("All three hold the same board. In a notebook: collabkernel.connect('planning')", style="bold")


async def _tell(rooms: dict[str, Any], told: deque[Beat], pause_s: float, on_beat: Callable[[Beat], object]) -> None:
    for scene in STORY:
        for beat in scene:
            beat.edit(rooms[beat.who])
            told.append(beat)
            on_beat(beat)
        # The next scene builds on this one (it names tasks by their place), so it waits until all have it.
        await asyncio.gather(_converged(list(rooms.values())), asyncio.sleep(pause_s))


async def _converged(rooms: Sequence[Any]) -> None:
    """Wait until all of them hold the same."""
    changed = asyncio.Event()

    def on_change(_: object) -> None:
        changed.set()

    for room in rooms:
        room.observe(on_change)
    async with asyncio.timeout(CONVERGED_WITHIN_S):
        for room in rooms:
            await room.flush()
        while any(room.to_json() != rooms[0].to_json() for room in rooms):
            changed.clear()
            await changed.wait()
    for room in rooms:
        room.unobserve(on_change)


def _picture(rooms: dict[str, Any], told: Sequence[Beat]) -> RenderableType:
    panels = [
        Panel(_board(room), title=f"{name}'s replica", border_style=STYLE_BY_NAME[name], width=38)
        for name, room in rooms.items()
    ]
    return Group(Columns(panels), *[_line(beat) for beat in told])


def _line(beat: Beat) -> Text:
    return Text.assemble((f"{beat.who:>6} ", STYLE_BY_NAME[beat.who]), beat.says)


def _board(room: RoomBase) -> RenderableType:
    # Plain values: asking for ``room.list("tasks")`` would make it where it is not yet, and this runs in Live's thread.
    state = room.to_json()
    lines = [
        Text(f"{'✔' if task['done'] else '·'} {task['title']}", "dim" if task["done"] else "")
        for task in state.get("tasks", [])
    ]
    return Group(*lines, Text(state.get("notes", ""), "italic"))
