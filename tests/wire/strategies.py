"""Hypothesis strategies for everything that crosses the wire."""

from __future__ import annotations

from hypothesis import strategies as st

from collabkernel.crdt.ids import OpId, Stamp
from collabkernel.document.operations import (
    BlockDelete,
    BlockInsert,
    BlockMove,
    BlockRekey,
    ContainerKind,
    Envelope,
    ListDelete,
    ListInsert,
    ListMove,
    ListSet,
    MapDelete,
    MapSet,
    NewContainer,
    NewDocument,
    Purge,
    Side,
    Slot,
    StoredEnvelope,
    TextEdit,
)
from collabkernel.limits import COUNTER_MAX, HLC_MAX, INT_MAX, INT_MIN, SITE_MAX

SITES = st.integers(1, SITE_MAX)
COUNTERS = st.integers(1, COUNTER_MAX)
HLCS = st.integers(1, HLC_MAX)
OP_IDS = st.builds(OpId, SITES, COUNTERS)
TARGETS = OP_IDS | st.builds(OpId, st.just(0), st.integers(0, COUNTER_MAX))
STAMPS = st.builds(Stamp, HLCS, SITES)
SIDES = st.sampled_from(Side)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(INT_MIN, INT_MAX)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
    | st.binary(max_size=300)
)
NEW_CONTAINERS = st.builds(NewContainer, st.sampled_from(ContainerKind)) | st.builds(
    NewContainer, st.sampled_from(ContainerKind), st.just(True), st.none() | STAMPS
)
VALUES = SCALARS | NEW_CONTAINERS
SLOTS = st.sampled_from(Slot)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)
PARENTS = OP_IDS | st.builds(OpId, st.just(0), COUNTERS)
TREE_OPS = (
    st.builds(NewDocument, TARGETS, NAMES)
    | st.builds(BlockInsert, TARGETS, SLOTS, NAMES, NAMES, st.none() | OP_IDS)
    | st.builds(BlockMove, TARGETS, PARENTS, SLOTS, NAMES)
    | st.builds(BlockDelete, TARGETS)
    | st.builds(BlockRekey, TARGETS, SLOTS, st.lists(st.tuples(OP_IDS, NAMES), min_size=1, max_size=4).map(tuple))
)
PURGED_IDS = st.lists(st.builds(OpId, SITES, st.integers(1, 40) | COUNTERS), min_size=1, max_size=20, unique=True)
PURGES = st.builds(Purge, TARGETS, PURGED_IDS.map(sorted).map(tuple)) | st.builds(Purge, TARGETS, st.just(()), STAMPS)
OPS = (
    st.builds(MapSet, TARGETS, TEXTS, VALUES)
    | st.builds(MapDelete, TARGETS, TEXTS)
    | st.builds(ListInsert, TARGETS, st.none() | OP_IDS, SIDES, VALUES)
    | st.builds(ListDelete, TARGETS, OP_IDS)
    | st.builds(ListMove, TARGETS, OP_IDS, st.none() | OP_IDS, SIDES)
    | st.builds(ListSet, TARGETS, OP_IDS, VALUES)
    | st.builds(TextEdit, TARGETS, st.binary(min_size=1, max_size=300))
    | TREE_OPS
    | PURGES
)
ENVELOPES = st.builds(
    Envelope,
    st.integers(1, COUNTER_MAX - 10),
    st.integers(0, COUNTER_MAX),
    st.integers(1, HLC_MAX - 10),
    st.lists(OPS, min_size=1, max_size=5).map(tuple),
)


@st.composite
def stored_envelopes(draw: st.DrawFn) -> list[StoredEnvelope]:
    """Some stored envelopes, contiguous in seq."""
    seq = draw(st.integers(1, COUNTER_MAX - 1000))
    stored = []
    for envelope in draw(st.lists(ENVELOPES, min_size=1, max_size=5)):
        stored.append(StoredEnvelope(seq, draw(SITES), draw(st.sampled_from(["ann", "bob", "", "Åsa"])), envelope))
        seq += len(envelope.ops)
    return stored
