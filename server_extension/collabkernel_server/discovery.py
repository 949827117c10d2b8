"""Which Jupyter servers of this user are running; the CLI asks by the entry point group ``collabkernel.servers``."""

from __future__ import annotations

from collections.abc import Iterator

from jupyter_server.serverapp import list_running_servers


def running_servers() -> Iterator[tuple[str, str]]:
    """(base URL, token) of each, from the files in Jupyter's runtime directory, newest port last."""
    for info in list_running_servers():
        if not info.get("sock"):
            yield str(info["url"]), str(info.get("token") or "")
