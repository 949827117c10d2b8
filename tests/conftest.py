"""Settings for every test: Hypothesis profiles, the ``core`` mark, and a guard that keeps core tests from sleeping."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, Phase, settings

# As in tests/jupyter_command.py: it takes seconds to import.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

_TESTS = Path(__file__).parent
_PURE_FOLDERS = ("crdt", "document", "wire", "room", "conformance")

# Deadlines measure the machine, not the code. In CI the examples are the same at each run: a failure there is the
# change's. `make test` elsewhere draws new ones and keeps what failed in .hypothesis/.
settings.register_profile("default", deadline=None)
settings.register_profile("quick", deadline=None, max_examples=5)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.register_profile(
    "long",
    deadline=None,
    max_examples=2000,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.target, Phase.shrink],
)
settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of the pure floors ``core``, unless they are long ones."""
    for item in items:
        path = item.path.relative_to(_TESTS).as_posix() if item.path.is_relative_to(_TESTS) else ""
        if path.split("/")[0] in _PURE_FOLDERS and not item.get_closest_marker("long"):
            item.add_marker(pytest.mark.core)


def pytest_collection_finish() -> None:
    """Keep the collector from walking over thousands of tests again and again, which is half a second of short ones."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fail a core test that sleeps: time comes in as ``now_ms`` there."""
    if item.get_closest_marker("core") is None:
        return (yield)

    def refuse(seconds: float) -> NoReturn:
        pytest.fail(f"a core test called time.sleep({seconds}); pass now_ms instead")

    real_sleep = time.sleep
    time.sleep = refuse
    try:
        return (yield)
    finally:
        time.sleep = real_sleep


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests (``pytest.mark.anyio``) run on asyncio, which is what the server and the client use."""
    return "asyncio"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell what went wrong in simulated histories, by kind: a fault that never happens tests nothing."""
    told = [
        value
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        for name, value in getattr(report, "user_properties", ())
        if name == "simulated"
    ]
    if told:
        faults = sum(map(Counter, told), Counter())
        histories = faults.pop("histories")
        terminalreporter.write_sep("-", f"{histories} simulated histories")
        terminalreporter.write_line(", ".join([f"{count} {kind}" for kind, count in faults.most_common()]))
