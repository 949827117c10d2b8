"""Jupyter server extension that hosts collabkernel rooms."""

from __future__ import annotations

from typing import Any

from collabkernel import __version__

__all__ = ["__version__"]


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    # Imported here, so that asking this package for running servers does not load the whole server.
    from collabkernel_server.app import CollabKernelServer

    return [{"module": "collabkernel_server.app", "app": CollabKernelServer}]
