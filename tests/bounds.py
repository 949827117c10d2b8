"""How long a test waits for what should come at once."""

from __future__ import annotations

HANG_S = 100.0
"""Only a hang takes so long: with three others beside it on a slow machine, a Jupyter server starts in 30."""
STOP_S = 2.0
"""What SIGTERM may take."""


def stop_s_max(start_s: float) -> float:
    """The same on a machine on which a start took so long: what slows it slows the stop as well."""
    return max(STOP_S, start_s)
