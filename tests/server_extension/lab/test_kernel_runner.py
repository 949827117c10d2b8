"""Cells on a real kernel: what they show arrives in the notebook, and two people have one queue."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from collabkernel_server.lab.document_client import DocumentClient
from collabkernel_server.lab.execution_queue import CellUnknownError
from collabkernel_server.lab.kernel_runner import ByteBudget

from collabkernel.errors import RoomNotFoundError, TooManyError
from collabkernel.limits import Limits
from tests.server_extension.lab.kernel_world import NOTEBOOK, kernel_world, run


def test_outputs_are_in_the_notebook_and_stored(tmp_path: Path) -> None:
    cells = {"a": "import sys\nprint('caf\u00e9')\nprint('oh', file=sys.stderr)\n6 * 7", "b": "1 / 0", "c": ""}

    async def test() -> None:
        async with kernel_world(tmp_path, cells) as world:
            await world.ask("a")
            await world.done("a")
            await world.ask("b")
            await world.done("b")
            await world.ask("c")
            await world.done("c")
            await world.client.flush()
            other = DocumentClient(world.hub, NOTEBOOK, "notebook")
            await other.start()
            first, second, third = other.document.get()["cells"]
            await other.stop()

            # The kernel sends its two streams as it gets to them.
            assert sorted([output.get("text") for output in first["outputs"][:2]]) == ["caf\u00e9\n", "oh\n"]
            assert first["outputs"][2]["data"] == {"text/plain": "42"}
            assert (first["execution_count"], second["execution_count"]) == (1, 2)
            assert second["outputs"][0]["ename"] == "ZeroDivisionError"
            assert (third["outputs"], third["execution_count"]) == ([], None)

    run(test())


def test_run_all_runs_in_the_notebooks_order_and_stops_at_an_error(tmp_path: Path) -> None:
    cells = {"a": "x = 1", "b": "x += 1; print(x)", "c": "raise ValueError(x)", "d": "print('never')", "e": "print(x)"}

    async def test() -> None:
        async with kernel_world(tmp_path, cells) as world:
            # Browsers send these over several connections, and they arrive in no order.
            await asyncio.gather(world.ask("c", "a", "d", "b"), world.ask("e", actor="bob"))
            await world.done("a", "b", "c", "d", "e")

            assert (world.text("b"), world.error("c"), world.text("d"), world.text("e")) == (
                "2\n",
                "ValueError",
                "",
                "2\n",
            )

    run(test())


def test_two_people_have_one_queue(tmp_path: Path) -> None:
    cells = {"a": "input_file = open('go'); input_file.read(); print('a')", "b": "print('b')", "c": "print('c')"}

    async def test() -> None:
        async with kernel_world(tmp_path, cells | {"a": wait_for_file(tmp_path)}) as world:
            other = DocumentClient(world.hub, NOTEBOOK, "notebook")
            await other.start()
            assert await world.ask("a") == [0]
            assert await world.ask("b", actor="bob") == [1]
            assert await world.ask("c") == [2]
            queue = world.executor.queue(world.kernel_id)
            assert [(request.cell_id, request.actor, is_running) for request, is_running in queue] == [
                ("a", "ann", True),
                ("b", "bob", False),
                ("c", "ann", False),
            ]
            await world.client.flush()
            await other.synced()
            states = [cell["execution_state"] for cell in other.document.ycells]  # type: ignore[attr-defined]  # a notebook
            assert states == ["running"] * 3
            await other.stop()

            (tmp_path / "go").touch()
            await world.done("a", "b", "c")

            assert [world.text(cell) for cell in "abc"] == ["went\n", "b\n", "c\n"]
            assert [int(world.cell(cell)["execution_count"]) for cell in "abc"] == [1, 2, 3]

    run(test())


def wait_for_file(folder: Path) -> str:
    """Code that runs until there is a file ``go``."""
    return f"import os, time\nwhile not os.path.exists({str(folder / 'go')!r}): time.sleep(0.01)\nprint('went')"


def test_displays_are_updated_by_later_cells(tmp_path: Path) -> None:
    cells = {"a": "h = display('one', display_id=True)\ndisplay('after')", "b": "h.update('ONE')"}

    async def test() -> None:
        async with kernel_world(tmp_path, cells) as world:
            await world.ask("a", "b")
            await world.done("a", "b")

            assert [output["data"]["text/plain"] for output in world.outputs("a")] == ["'ONE'", "'after'"]
            assert world.outputs("b") == []

    run(test())


def test_ten_megabytes_go_into_a_file(tmp_path: Path) -> None:
    cells = {
        "a": "for _ in range(100): print('x' * 99_999)",
        "b": "display({'text/html': '<b>' * 1_000_000}, raw=True)",
    }

    async def test() -> None:
        async with kernel_world(tmp_path, cells) as world:
            await world.ask("a", "b")
            await world.done("a", "b")

            stream, rest = world.outputs("a")
            assert len(stream["text"]) == Limits().output_inline_bytes
            path = world.files.find(rest["data"]["text/plain"].split("/outputs/")[1].split(". ")[0])
            assert path is not None
            assert path.read_text() == ("x" * 99_999 + "\n") * 100
            assert "10.0 MB" in rest["data"]["text/html"]
            page = world.outputs("b")[0]["data"]["text/html"]
            path = world.files.find(page.split("/outputs/")[1].split('"')[0])
            assert path is not None
            assert path.stat().st_size == 3_000_000

    run(test())


def test_input_is_refused_clearly(tmp_path: Path) -> None:
    async def test() -> None:
        async with kernel_world(tmp_path, {"a": "input('name?')"}) as world:
            await world.ask("a")
            await world.done("a")

            assert world.error("a") == "StdinNotImplementedError"

    run(test())


def test_cell_that_is_deleted_while_it_waits_does_not_run(tmp_path: Path) -> None:
    cells = {"a": wait_for_file(tmp_path), "b": "print('b')", "c": "print('c')"}

    async def test() -> None:
        async with kernel_world(tmp_path, cells) as world:
            await world.ask("a", "b", "c")
            del world.client.document.ycells[1]  # type: ignore[attr-defined]  # a notebook
            (tmp_path / "go").touch()
            await world.done("a", "c")

            assert int(world.cell("c")["execution_count"]) == 2

    run(test())


def test_what_cannot_run_is_refused(tmp_path: Path) -> None:
    limits = Limits(execute_queue_cells=2)

    async def test() -> None:
        async with kernel_world(tmp_path, {"a": "1"}, limits) as world:
            with pytest.raises(CellUnknownError):
                await world.ask("nowhere")
            with pytest.raises(RoomNotFoundError):
                await world.executor.request(world.kernel_id, "json:notebook:other", "a", "ann")
            with pytest.raises(TooManyError):
                await world.ask("a", "a", "a")

    run(test())


def test_notebook_is_held_while_cells_run(tmp_path: Path) -> None:
    async def test() -> None:
        async with kernel_world(tmp_path, {"a": wait_for_file(tmp_path)}) as world:
            await world.ask("a")
            assert world.holds == 1
            (tmp_path / "go").touch()
            await world.done("a")
            await world.executor.stop()
            assert world.holds == 0

    run(test())


@pytest.mark.core
def test_budget_makes_up_for_what_was_spent_at_once() -> None:
    budget = ByteBudget(100, 1000)
    budget.spend(1000, 50.0)
    assert budget.wait_s(50.0) == 0
    budget.spend(200, 50.0)
    assert budget.wait_s(50.0) == 2
    assert budget.wait_s(51.0) == 1
    budget.spend(0, 1000.0)
    budget.spend(1000, 1000.0)
    assert budget.wait_s(1000.0) == 0
