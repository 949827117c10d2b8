"""A real nginx in front of servers, with the configuration that the documentation has."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.bounds import HANG_S
from tests.ports import free_port

CONFIGURATION = Path(__file__).parents[2] / "docs" / "examples" / "nginx.conf"
# The main file that Debian has around it, with a folder of our own.
_AROUND = """
{user}
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ worker_connections 1024; }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/collabkernel.conf;
}}
"""


def nginx_program() -> str:
    """Where nginx is; the test is skipped where there is none, but in CI."""
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None and not os.environ.get("CI"):
        pytest.skip("there is no nginx on PATH; install it: sudo apt-get install nginx")
    assert found is not None, "CI needs nginx: .ci/run installs it"
    return found


class Nginx:
    """It listens on ``base_url``'s port until ``stop``."""

    def __init__(self, folder: Path, ports: Sequence[int]) -> None:
        """Start it in front of the servers that listen on these ports of this machine."""
        program, folder = nginx_program(), folder.resolve()
        folder.mkdir(parents=True)
        self.access_log = folder / "access.log"
        self._error_log = folder / "error.log"
        port = free_port()
        self.base_url = f"http://127.0.0.1:{port}/base/"
        (folder / "collabkernel.conf").write_text(configuration(ports, port, self.access_log))
        user = "user root;" if os.getuid() == 0 else ""  # others may not enter pytest's folders
        main = folder / "nginx.conf"
        main.write_text(_AROUND.format(folder=folder, user=user))
        self._process = subprocess.Popen([program, "-p", str(folder), "-c", str(main), "-g", "daemon off;"])
        self._wait(port)

    def _wait(self, port: int) -> None:
        deadline_s = time.monotonic() + HANG_S
        while True:
            assert self._process.poll() is None, f"nginx ended:\n{self.errors}"
            assert time.monotonic() < deadline_s, f"nginx does not listen:\n{self.errors}"
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)

    @property
    def errors(self) -> str:
        """Its log of errors."""
        return self._error_log.read_text() if self._error_log.exists() else ""

    def stop(self) -> None:
        """End it, and the sockets that go through it."""
        self._process.terminate()
        self._process.wait(HANG_S)


def configuration(ports: Sequence[int], port: int, access_log: Path) -> str:
    """The documentation's file with these addresses: all else is as it is there."""
    text = CONFIGURATION.read_text()
    for number in (1, 2, 3):
        line = re.compile(rf"^ *server server-{number}:8888[^;]*;\n", re.MULTILINE)
        assert len(line.findall(text)) == 2, "each server is in both upstreams"
        if number > len(ports):
            text = line.sub("", text)
        else:
            text = text.replace(f"server-{number}:8888", f"127.0.0.1:{ports[number - 1]}")
    used_by_shown = {
        "listen 80;": f"listen 127.0.0.1:{port};",
        "/var/log/nginx/collabkernel.log": str(access_log),
    }
    for shown, used in used_by_shown.items():
        assert text.count(shown) == 1, f"it has one {shown}"
        text = text.replace(shown, used)
    return text
