"""Lists in the hands of several sites: replicas, random actions, causal orders."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st

from collabkernel.crdt.ids import OpId, Side, Stamp
from collabkernel.crdt.rga import RgaList
from tests.crdt.naive_list import ListOp, NaiveList

LEFT, RIGHT = Side.LEFT, Side.RIGHT


def apply(items: RgaList, op: ListOp) -> object:
    match op.kind:
        case "insert":
            return items.insert(op.op_id, op.stamp, op.parent, op.side, op.value)
        case "delete":
            return items.delete(op.element)
        case "set":
            return items.set(op.element, op.stamp, op.value)
        case _:
            return items.move(op.op_id, op.stamp, op.element, op.parent, op.side)


def state(items: RgaList) -> object:
    return list(items.slots()), list(items.elements()), list(items.items()), len(items)


def restored(items: RgaList) -> RgaList:
    return RgaList.restore(items.slots(), items.elements())


class Replica:
    """A list, its oracle, and the ops it knows in the order it learnt them."""

    def __init__(self, site: int, skew: int = 0) -> None:
        self.site = site
        self.skew = skew
        self.counter = 0
        self.items = RgaList()
        self.naive = NaiveList()
        self.known: dict[OpId, ListOp] = {}

    def learn(self, op: ListOp) -> object:
        self.naive.apply(op)
        self.known[op.op_id] = op
        return apply(self.items, op)

    def pull(self, other: Replica) -> None:
        for op in other.known.values():
            if op.op_id not in self.known:
                self.learn(op)

    def next_op(self, kind: str, **parts: object) -> ListOp:
        self.counter += 1
        stamp = Stamp(self.counter + self.skew, self.site)
        return ListOp(kind, OpId(self.site, self.counter), stamp, **parts)

    def insert(self, index: int, value: object) -> OpId:
        parent, side = self.items.insertion_point(index)
        op = self.next_op("insert", parent=parent, side=side, value=value)
        assert self.learn(op) == index
        return op.op_id

    def move(self, element: OpId, index: int) -> None:
        parent, side = self.items.move_point(element, index)
        self.learn(self.next_op("move", element=element, parent=parent, side=side))

    def values(self) -> list[object]:
        return self.items.values()


class Action(NamedTuple):
    """What one replica does next; the numbers choose where."""

    replica: int
    kind: str
    first: float
    second: float


actions = st.lists(
    st.builds(
        Action,
        st.integers(0, 3),
        st.sampled_from(["insert", "insert", "type", "hang", "delete", "set", "move", "move", "hang_move", "pull"]),
        st.floats(0, 0.999),
        st.floats(0, 0.999),
    ),
    max_size=40,
)


def chosen(replica: Replica, action: Action) -> ListOp | None:
    """The op of an action on a replica as it is now, if there is one."""
    items, kind = replica.items, action.kind
    slots = list(items.slots())
    elements = list(items.elements())
    if kind in ("insert", "type"):
        index = len(items) if kind == "type" else int(action.first * (len(items) + 1))
        parent, side = items.insertion_point(index)
        return replica.next_op("insert", parent=parent, side=side, value=replica.counter)
    if not elements:
        return None
    # Anywhere in the tree, deleted elements and tombstones too, as a client with other habits would.
    element = elements[int(action.first * len(elements))].element
    hook = {"parent": slots[int(action.second * len(slots))].slot, "side": [LEFT, RIGHT][replica.counter % 2]}
    match kind:
        case "hang":
            return replica.next_op("insert", value=replica.counter, **hook)
        case "hang_move":
            return replica.next_op("move", element=element, **hook)
        case "delete" | "set":
            return replica.next_op(kind, element=element, value=replica.counter)
        case _ if len(items):
            moved = items.element_at(int(action.first * len(items)))
            parent, side = items.move_point(moved, int(action.second * len(items)))
            return replica.next_op("move", element=moved, parent=parent, side=side)
    return None


def played(script: list[Action]) -> list[Replica]:
    replicas = [Replica(site, skew) for site, skew in [(1, 0), (2, 7), (3, 3), (4, -2)]]
    for action in script:
        replica = replicas[action.replica]
        if action.kind == "pull":
            replica.pull(replicas[int(action.first * len(replicas))])
        elif (op := chosen(replica, action)) is not None:
            replica.learn(op)
    return replicas


def together(replicas: list[Replica]) -> Replica:
    everything = Replica(99)
    for replica in replicas:
        everything.pull(replica)
    return everything


def causal_order(ops: list[ListOp]) -> list[ListOp]:
    """The ops in this order, but each after those it names."""
    by_id = {op.op_id: op for op in ops}
    order: dict[OpId, ListOp] = {}
    todo = list(reversed(ops))
    while todo:
        op = todo[-1]
        missing = [by_id[name] for name in op.references() if name not in order]
        if missing:
            todo += missing
        else:
            order.setdefault(todo.pop().op_id, op)
    return list(order.values())
