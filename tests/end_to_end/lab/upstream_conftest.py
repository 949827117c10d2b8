"""The ``conftest.py`` with which jupyter-collaboration's own tests run against collabkernel."""

from __future__ import annotations

import asyncio
import functools
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from collabkernel_server.lab import documents

from collabkernel.storage import open_storage

pytest_plugins = ["jupyter_server.pytest_plugin", "jupyter_server_ydoc.pytest_plugin"]


class FileIdsAsAManager:
    """Our file ids under the face of jupyter-server-fileid's manager, which those tests ask."""

    def __init__(self, database: Path):
        self._database = database

    def get_id(self, path):
        with sqlite3.connect(self._database) as connection:
            found = connection.execute("SELECT id FROM files WHERE path = ?", (path,)).fetchone()
        return found and found[0]

    def index(self, path):
        # They do not wait for it, so it is done here and now, as another server on this database would.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, self._index(path)).result()

    async def _index(self, path):
        storage = open_storage(f"sqlite:///{self._database}")
        await storage.open()
        await storage.file_by_path(path, create=True, now_ms=0)
        await storage.close()


@pytest.fixture
def jp_server_config(tmp_path, monkeypatch, rtc_document_save_delay):
    # They give the debounce in seconds as a setting of their server, and wait for half as much more: too little where
    # the machine is busy.
    pauses = functools.partial(documents.SavePauses, debounce_ms=int(rtc_document_save_delay * 200))
    monkeypatch.setattr(documents, "SavePauses", pauses)
    return {
        "ServerApp": {
            "jpserver_extensions": {"collabkernel_server": True},
            "token": "",
            "password": "",
            "disable_check_xsrf": True,
        },
        "CollabKernelServer": {"db_url": f"sqlite:///{tmp_path / 'rooms.sqlite'}"},
    }


@pytest.fixture
def jp_serverapp(jp_serverapp, tmp_path):
    jp_serverapp.web_app.settings["file_id_manager"] = FileIdsAsAManager(tmp_path / "rooms.sqlite")
    return jp_serverapp
