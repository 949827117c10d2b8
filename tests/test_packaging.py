"""The wheel holds all that running needs: three packages, data files, Jupyter's configuration."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """A wheel of this checkout, as `pip install` makes it."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_every_file_of_the_packages_is_in_the_wheel(wheel: zipfile.ZipFile):
    inside = set(wheel.namelist())
    expected = {
        path.relative_to(parent).as_posix()
        for parent, package in (
            (ROOT, "collabkernel"),
            (ROOT / "server_extension", "collabkernel_server"),
            (ROOT / "widgets", "collabkernel_widgets"),
        )
        for path in (parent / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert expected - inside == set()
    assert {"collabkernel/py.typed", "collabkernel/wire/collab.proto"} <= inside


def test_the_extension_is_enabled_by_installing_it(wheel: zipfile.ZipFile):
    (config,) = (name for name in wheel.namelist() if name.endswith("jupyter_server_config.d/collabkernel_server.json"))

    assert config.endswith(".data/data/etc/jupyter/jupyter_server_config.d/collabkernel_server.json")
    assert b'"collabkernel_server": true' in wheel.read(config)


def test_nothing_of_the_workshop_is_in_the_wheel(wheel: zipfile.ZipFile):
    tops = {name.split("/")[0].split("-")[0] for name in wheel.namelist()}

    assert tops == {"collabkernel", "collabkernel_server", "collabkernel_widgets"}
