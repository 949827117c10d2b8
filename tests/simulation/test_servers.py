"""Several servers on one database and one bus, and clients that edit at them, while all of it fails; one seed each.

``COLLABKERNEL_SIMULATION_SEED`` lives one history again; the end of the run tells what went wrong in it, by kind.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import count
from unittest import mock

import pytest

from collabkernel.crdt.ids import KEEPER_SITE
from collabkernel.document.operations import Purge
from collabkernel.server.hub import to_jsonable
from collabkernel.server.reader import Reader
from collabkernel.wire.ops import decode_op
from tests.simulation.chronicle import Chronicle
from tests.simulation.cluster import LIMITS, ROOM, Cluster, Site, Size
from tests.simulation.ledger import FIRST, surviving
from tests.simulation.loop import START_S, SimulatedLoop
from tests.simulation.random_world import seeds
from tests.simulation.raw_site import RawSite
from tests.simulation.troubles import Troubles
from tests.simulation.verdict import check_purged, check_text, encoded, folded
from tests.simulation.watched import watched

SMALL = Size()
PURGED = Size(raw_sites=0, purges=30, blocks=6, ops=160)
LARGE = Size(sites=3, raw_sites=10_000, think_s=15.0)
LARGE_LIMITS = replace(
    LIMITS,
    sessions_per_room=2 * LARGE.raw_sites,
    ring_bytes=1 << 20,
    catch_up_ops=5000,
    snapshot_ops=5000,
    session_queue_bytes=1 << 20,
)
SEEDS = 30
PURGED_SEEDS = 10
REGRESSIONS = {
    "7": "who resumed at a server that was behind had honest edits refused for good",
    "30": "the same, by the base of the envelope",
    "120": "an own envelope that the log was read in the middle of was applied twice",
}
"""Seeds, and what they found."""
PURGED_REGRESSIONS = {
    "203": "who joined anew at a server that was behind made edits again on less than he had seen stored",
    "264": "a block that stood where it had been moved to hid what the server had said it did not store",
    "345": "text that two had deleted, and both had brought back, one of them before he went on as another site",
}
SHARDS, SHARD_SEEDS, PURGED_SHARD_SEEDS = 20, 500, 50
TROUBLE_S = 0.4
LARGE_TROUBLE_S = 4.0
LIFE_S_MAX = 3600.0

Told = Callable[[str, object], None]


def live_through(seed: str, size: Size = SMALL) -> Cluster:
    """Live one history, and check what must hold at its end."""
    is_large = size is LARGE
    chronicle = Chronicle(seed)
    loop = SimulatedLoop(chronicle.rng)

    async def main() -> Cluster:
        cluster = Cluster(loop, chronicle, size, LARGE_LIMITS if is_large else LIMITS)
        troubles = asyncio.create_task(Troubles(cluster, LARGE_TROUBLE_S if is_large else TROUBLE_S).go_on())
        while cluster.ops_made < size.ops or (is_large and not all(site.has_edited for site in cluster.sites)):
            assert loop.time() < START_S + LIFE_S_MAX, "nothing is made any more"
            await asyncio.sleep(0.5)
        await cluster.heal()
        await troubles
        await check(cluster)
        return cluster

    try:
        with watched(random.Random(f"{seed}, secrets")):
            return loop.run(main())
    except BaseException as error:
        error.add_note(f"COLLABKERNEL_SIMULATION_SEED={seed}")
        raise


async def check(cluster: Cluster) -> None:
    """All agree on the log, and the log has all that was made, once."""
    storage = cluster.database.storage
    rows = [row async for rows in storage.read_ops(ROOM, 0) for row in rows]
    assert rows == cluster.log(), "the log is not what it was"
    assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
    authors = {site: _sites_of(site) for site in (*cluster.sites, *cluster.dead_sites)}
    gone = {number for site in cluster.dead_sites for number in authors[site]}
    gone |= {number for site in cluster.sites for number in authors[site] - {site.site}}
    cluster.ledger.check_log([row for row in rows if row.site != KEEPER_SITE], gone)
    fold = folded(rows)
    check_text(fold.state, rows, check_purged(fold, rows))
    typed = Counter(char for each in surviving(rows).values() for char in each.elements() if char >= chr(FIRST))
    twice = {char for char, count in typed.items() if count > 1}
    assert not twice or twice <= cluster.ledger.deleted_by_many(authors.values()), "typed once and there twice"
    expected = encoded(fold.state, fold)
    for site in cluster.sites:
        if isinstance(site, RawSite):
            assert site.refused == site.nonsense, f"nonsense of {site.name} was stored"
        else:
            assert encoded(site.replica.state, fold) == expected, f"{site.name} sees something else than the log"
    loaded, _ = await Reader(storage).load(ROOM)
    assert encoded(loaded.state, fold) == expected, "a snapshot and the log since is not what the log says"
    plain = to_jsonable(fold.state.tree.to_json())
    for server in cluster.servers:
        assert server.hub is not None
        told = await server.process.spawn(server.hub.room_state(ROOM))
        assert (told["seq"], told["state"]) == (len(rows), plain), f"{server.name} tells something else than the log"


def _sites_of(site: Site | RawSite) -> set[int]:
    """All that it was: who had not seen a purge goes on as another one."""
    return site.sites | {site.site} if isinstance(site, Site) else {site.site}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """No log of what fails all the time, and no collector that ends generators when it likes."""
    logging.disable(logging.CRITICAL)
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect()
        logging.disable(logging.NOTSET)


def _with(chosen: list[str], count: int, regressions: dict[str, str]) -> list[str]:
    """Seeds with those that found something, unless one alone is asked for."""
    return list(dict.fromkeys([*chosen, *(regressions if len(chosen) == count else ())]))


@pytest.mark.parametrize("seed", _with(seeds(SEEDS), SEEDS, REGRESSIONS))
def test_whatever_fails_all_agree_on_the_log(seed: str, record_property: Told) -> None:
    record_property("simulated", dict(live_through(seed).chronicle.faults))


@pytest.mark.parametrize("seed", _with(seeds(PURGED_SEEDS), PURGED_SEEDS, PURGED_REGRESSIONS))
def test_whatever_fails_all_agree_on_what_is_left_of_what_is_purged(seed: str, record_property: Told) -> None:
    record_property("simulated", dict(happened(live_through(seed, PURGED))))


def happened(cluster: Cluster) -> Counter[str]:
    """What went wrong, by kind, and how often something was purged."""
    kept = [decode_op(row.payload) for row in cluster.log() if row.site == KEEPER_SITE]
    purges = [op for op in kept if isinstance(op, Purge)]
    of_blocks = sum(op.is_of_blocks for op in purges)
    return cluster.chronicle.faults + Counter({"purge": len(purges) - of_blocks, "purge of blocks": of_blocks})


def happened_in_all(seeds: range, size: Size = SMALL) -> dict[str, int]:
    """The same of many histories."""
    found: Counter[str] = Counter()
    for seed in seeds:
        found += happened(live_through(str(seed), size))
        gc.collect()
    return dict(found)


@contextmanager
def _clocks_that_leap() -> Iterator[None]:
    """A machine so busy that between any two looks at a clock others had it for 10 ms."""
    leaps = count(step=0.01).__next__
    with ExitStack() as clocks:
        for name in ("monotonic", "perf_counter", "process_time", "thread_time"):
            clocks.enter_context(mock.patch.object(time, name, leaps))
        yield


def test_the_same_seed_is_the_same_history() -> None:
    script = "from tests.simulation.test_servers import live_through; print(live_through('same').chronicle.digest)"
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    elsewhere = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    digest = live_through("same").chronicle.digest

    with _clocks_that_leap():
        assert live_through("same").chronicle.digest == digest
    assert elsewhere.stdout.split() == [digest], elsewhere.stderr
    assert live_through("another").chronicle.digest != digest


def test_what_is_wrong_is_seen() -> None:
    """The invariants are not empty: each is broken once."""
    cluster = live_through("what is wrong")
    rows = cluster.log()
    site = next(site for site in cluster.sites if isinstance(site, Site))

    def check_again() -> None:
        SimulatedLoop(random.Random(0)).run(check(cluster))

    rows.append(rows.pop(0))
    with pytest.raises(AssertionError, match="the log is not what it was"):
        check_again()
    rows.insert(0, rows.pop())
    made = cluster.ledger.made
    made[site.site, 10**6] = made.pop(next(iter(made)))
    with pytest.raises(AssertionError, match="lost: "):
        check_again()


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_ten_thousand_histories(shard: int, record_property: Told) -> None:
    record_property("simulated", happened_in_all(range(shard * SHARD_SEEDS, (shard + 1) * SHARD_SEEDS)))


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_a_thousand_histories_with_purges(shard: int, record_property: Told) -> None:
    seeds_of_shard = range(shard * PURGED_SHARD_SEEDS, (shard + 1) * PURGED_SHARD_SEEDS)
    record_property("simulated", happened_in_all(seeds_of_shard, PURGED))


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_ten_thousand_sites_edit_one_room(record_property: Told) -> None:
    began_s = time.process_time()
    cluster = live_through("ten thousand sites", LARGE)
    print(
        f"{len(cluster.sites)} sites, {cluster.ops_made} operations in {cluster.loop.time() - START_S:.0f} s: "
        f"{time.process_time() - began_s:.0f} s of processor time, "
        f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB; {dict(cluster.chronicle.counts)}"
    )
    record_property("simulated", dict(cluster.chronicle.faults))
