"""In which order a kernel's cells run."""

from __future__ import annotations

import pytest
from collabkernel_server.lab.execution_queue import CellRequest, ExecutionQueue

from collabkernel.errors import TooManyError

pytestmark = pytest.mark.core


def cell(position: int, actor: str = "ann", document_id: str = "plan") -> CellRequest:
    return CellRequest(document_id, f"{actor}{position}", actor, "", position)


def order(queue: ExecutionQueue) -> list[str]:
    return [request.cell_id for request in queue.waiting]


def test_one_wish_runs_in_the_order_of_the_notebook() -> None:
    queue = ExecutionQueue(10)
    queue.add([cell(2), cell(0), cell(1)])

    assert order(queue) == ["ann0", "ann1", "ann2"]


def test_later_wish_runs_later_whatever_its_place() -> None:
    queue = ExecutionQueue(10)
    queue.add([cell(5)])
    queue.add([cell(1)])

    assert order(queue) == ["ann5", "ann1"]


def test_wishes_of_two_people_are_not_mixed() -> None:
    queue = ExecutionQueue(10)
    queue.add([cell(3, "bob"), cell(1, "ann"), cell(2, "bob"), cell(0, "ann")])

    assert order(queue) == ["bob2", "bob3", "ann0", "ann1"]


def test_full_queue_takes_no_more() -> None:
    queue = ExecutionQueue(2)
    queue.check(2)
    queue.add([cell(0)])

    with pytest.raises(TooManyError):
        queue.check(2)


def test_some_or_all_are_dropped() -> None:
    queue = ExecutionQueue(10)
    queue.add([cell(0), cell(1), cell(2, "bob")])

    assert [request.cell_id for request in queue.drop(lambda request: request.actor == "ann")] == ["ann0", "ann1"]
    assert queue.pop().actor == "bob"
    queue.add([cell(0)])
    assert len(queue.drop()) == 1
    assert len(queue) == 0
