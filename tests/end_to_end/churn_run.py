"""A server that compacts a churned document all the time, to be killed; prints each mark that is stored.

python tests/end_to_end/churn_run.py URL FIRST_MARK
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace

from collabkernel.bus.polling import PollingBus
from collabkernel.limits import Limits
from collabkernel.server.hub import Hub
from collabkernel.storage import open_storage
from tests.end_to_end.churn import Churner

LIMITS = replace(
    Limits(), snapshot_log_bytes=20_000, snapshot_log_interval_ms=5, compact_cpu_percent=50, compact_grace_ms=20
)
"""So that a kill hits a snapshot or a drop."""


async def main(url: str, first_mark: int) -> None:
    storage = open_storage(url)
    hub = Hub(storage, LIMITS, bus=PollingBus(storage))
    await hub.start()
    ann = Churner("ann", first_mark)
    await ann.enter(hub)
    mark = first_mark
    while True:
        for _ in range(3):
            await ann.churn(2_000, 8_000)
        await ann.mark(f"<{mark}>")
        assert ann.closed is None, ann.closed
        print(mark, flush=True)
        mark += 1


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
