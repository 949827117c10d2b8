"""Where rooms are kept by default."""

from __future__ import annotations

from pathlib import Path

from jupyter_core.paths import jupyter_data_dir

MEMORY_URL = "memory://"
"""Rooms that need not outlive the server process."""


def default_db_url() -> str:
    """SQLite in Jupyter's data directory: durable, and one for each user, however many servers he runs."""
    return f"sqlite:///{Path(jupyter_data_dir()) / 'collabkernel' / 'rooms.sqlite'}"
