"""A real JupyterLab in a process of its own, in which a cookie or a token says who somebody is."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat

from tests.bounds import HANG_S
from tests.jupyter_command import jupyter_command

PERSON_COOKIE = "person"
AGENT_TOKEN = "scout-token"
CONFIG = '''
from jupyter_server.auth import Authorizer, IdentityProvider, User

COLORS = {"ann": "#1565c0", "bob": "#c62828"}

class People(IdentityProvider):
    """The cookie `person` stands for a person's login, a token for a script's."""
    async def get_user(self, handler):
        name = handler.get_cookie("person")
        if name:
            display_name = name.replace("-", " ").title()
            return User(name, display_name=display_name, initials=display_name[0], color=COLORS.get(name))
        if self.get_token(handler) == "scout-token":
            handler._token_authenticated = True
            return User("scout", display_name="Scout", color="#6a1b9a")
        return await super().get_user(handler)

class Rules(Authorizer):
    """Readers may only read rooms, and guests may only read files; both may do everything else."""
    def is_authorized(self, handler, user, action, resource):
        kept = {"reader": "rooms", "guest": "contents"}.get(user.username.partition("-")[0])
        return resource != kept or action == "read"

c.ServerApp.identity_provider_class = People
c.ServerApp.authorizer_class = Rules
c.ServerApp.allow_unauthenticated_access = False
c.CollabKernelServer.kernel_user_name = "Kernel"
c.LabApp.expose_app_in_browser = True
'''


class Lab:
    """JupyterLab on SQLite in folders of its own; it can be killed and started again in place."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.notebooks = folder / "notebooks"
        self.notebooks.mkdir(parents=True)
        (folder / "config").mkdir()
        (folder / "config" / "jupyter_server_config.py").write_text(CONFIG)
        self.set_setting("notification", fetchNews="false", checkForUpdates=False)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}/"
        self._log_path = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    def set_setting(self, group: str, **values: object) -> None:
        """What everybody finds under Settings when a page loads."""
        path = self._folder / f"settings/@jupyterlab/apputils-extension/{group}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))

    def start(self, *arguments: str) -> None:
        """Start it, with these on its command line; returns when it serves rooms."""
        env = {name: value for name, value in os.environ.items() if not name.startswith(("COLLABKERNEL_", "JUPYTER"))}
        env |= {f"JUPYTER{name}_DIR": str(self._folder / name.strip("_").lower()) for name in ("_DATA", "_RUNTIME")}
        env |= {"JUPYTER_CONFIG_DIR": str(self._folder / "config"), "JUPYTER_NO_CONFIG": ""}
        env |= {f"JUPYTERLAB_{name}_DIR": str(self._folder / name.lower()) for name in ("SETTINGS", "WORKSPACES")}
        command = [*jupyter_command("jupyterlab"), "--no-browser", "--allow-root", f"--port={self._port}"]
        command += ["--ServerApp.port_retries=0", f"--ServerApp.root_dir={self.notebooks}"]
        command += [f"--CollabKernelServer.db_url=sqlite:///{self._folder / 'rooms.sqlite'}", *arguments]
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + HANG_S
        while not self._is_ready():
            assert self._process.poll() is None, f"JupyterLab ended:\n{self.log}"
            assert time.monotonic() < deadline, f"JupyterLab did not start:\n{self.log}"
            time.sleep(0.1)

    def _is_ready(self) -> bool:
        try:
            self.get("collabkernel/api/info")
        except (urllib.error.URLError, OSError):
            return False
        return True

    def kill(self) -> None:
        """SIGKILL: nothing is flushed, nobody is told."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def stop(self) -> None:
        """Stop it, and its kernels. One that is asked to while a kernel starts may hang in Jupyter's own threads."""
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
        self.kill()

    @property
    def log(self) -> str:
        """What it has printed."""
        return self._log_path.read_text()

    def get(self, path: str) -> Any:
        """What the server's REST interface answers to the agent."""
        return json.loads(self._request("GET", path))

    def _request(self, method: str, path: str) -> bytes:
        headers = {"Authorization": f"token {AGENT_TOKEN}"}
        request = urllib.request.Request(self.url + path, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=HANG_S) as response:
            return bytes(response.read())

    def rooms(self) -> list[str]:
        """The names of all rooms."""
        return [room["room"] for room in self.get("collabkernel/api/rooms")["rooms"]]

    def delete_room(self, room: str) -> None:
        """Delete a room with everything in it."""
        self._request("DELETE", f"collabkernel/api/rooms/{room}")

    def end_kernels(self) -> None:
        """Shut all kernels down, those of closed pages first of all."""
        for kernel in self.get("api/kernels"):
            self._request("DELETE", f"api/kernels/{kernel['id']}")

    def state(self, room: str) -> Any:
        """The room's values as the server has them."""
        return self.get(f"collabkernel/api/rooms/{room}")["state"]

    def write_notebook(self, name: str, cells: Iterable[str]) -> None:
        """Put a notebook of code cells where the server shows it."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, self.notebooks / f"{name}.ipynb")
