"""The peers that run on Node or Bun: how each is started over a folder, so that it keeps there what it has."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tests.peers import install

HOCUSPOCUS, Y_WEBSOCKET, TLDRAW, LIVEBLOCKS = (
    "Hocuspocus 4.7.0",
    "y-websocket 2.1.0",
    "tldraw sync 5.4.2",
    "Liveblocks dev server 1.9.0",
)
NODE_KINDS = (HOCUSPOCUS, Y_WEBSOCKET, TLDRAW, LIVEBLOCKS)
_HERE = Path(__file__).parent / "node"


class Start(NamedTuple):
    """A command, and what its environment has besides."""

    command: list[str]
    environment: dict[str, str]


def start(kind: str, folder: Path, port: int) -> Start:
    """How a server of this kind is started over ``folder`` at ``port``; installs it first when it is not there."""
    node = str(install.node_binary())
    production = {"NODE_ENV": "production"}
    if kind == Y_WEBSOCKET:
        script = install.node_folder("y-websocket") / "node_modules/y-websocket/bin/server.cjs"
        place = {"HOST": "127.0.0.1", "PORT": str(port), "YPERSISTENCE": str(folder / "leveldb")}
        return Start([node, str(script)], production | place)
    if kind == LIVEBLOCKS:
        modules = install.node_folder("liveblocks") / "node_modules"
        bun, script = modules / "bun/bin/bun.exe", modules / "liveblocks/dist/index.js"
        options = ["--host", "127.0.0.1", "--port", str(port), "--no-check", "--persist"]
        return Start([str(bun), str(script), "dev", *options], production)
    name = {HOCUSPOCUS: "hocuspocus", TLDRAW: "tldraw"}[kind]
    modules = install.node_folder(name) / "node_modules"
    return Start([node, str(_HERE / f"{name}.mjs"), str(port), str(folder), str(modules)], production)
