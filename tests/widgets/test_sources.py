"""The seam between views and rooms: real rooms have what views ask for."""

from __future__ import annotations

from collabkernel_widgets.sources import LiveValue, Room

import collabkernel


def test_a_real_room_and_a_real_value_have_what_views_ask_for() -> None:
    with collabkernel.connect("sources", url="memory://") as room:
        seen: Room = room
        value: LiveValue = room.list("tasks")

        assert (seen.name, seen.address) == ("sources", "memory://")
        assert value.room is room
        site, counter = value.id.split(".")
        assert (int(site), int(counter) > 0) == (0, True), "a shared container, which has no site"


def test_a_live_value_as_the_last_line_of_a_cell_is_its_view() -> None:
    with collabkernel.connect("last-line", url="memory://") as room:
        tasks = room.list("tasks")
        tasks.append("write")
        bundle = tasks._repr_mimebundle_()
        data = bundle[0] if isinstance(bundle, tuple) else bundle

        assert "application/vnd.jupyter.widget-view+json" in data
        assert data["text/plain"] == "LiveList(['write'])"
