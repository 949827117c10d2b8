"""What JupyterLab's page is told, with and without jupyter-server-ydoc beside us, and the commands that choose."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from collabkernel_server.lab.enable import (
    DISABLE_RTC,
    SERVER_SIDE_EXECUTION,
    YDOC_EXTENSION,
    configure_page,
    describe,
    lab,
)
from jupyter_core.paths import jupyter_config_path
from jupyter_server.extension.config import ExtensionConfigManager
from jupyter_server.extension.manager import ExtensionManager, ExtensionPackage
from jupyter_server.serverapp import ServerApp
from tornado.web import Application

from collabkernel.cli import main


@pytest.fixture
def serverapp() -> ServerApp:
    app = ServerApp()
    app.web_app = Application()
    app.extension_manager = ExtensionManager()
    return app


def page_config(serverapp: ServerApp) -> dict[str, object]:
    config: dict[str, object] = serverapp.web_app.settings.get("page_config_data", {})
    return config


@pytest.mark.parametrize("is_serving", [True, False])
def test_documents_are_shared_when_rooms_are_served(serverapp: ServerApp, is_serving: bool) -> None:
    configure_page(serverapp, is_serving)

    assert page_config(serverapp) == {DISABLE_RTC: not is_serving}


def test_front_end_asks_the_server_to_run_cells_where_it_does(serverapp: ServerApp) -> None:
    configure_page(serverapp, is_serving=True, runs_cells=True)

    assert page_config(serverapp)[SERVER_SIDE_EXECUTION] is True


def test_what_an_operator_set_stays(serverapp: ServerApp) -> None:
    serverapp.web_app.settings["page_config_data"] = {DISABLE_RTC: True}
    configure_page(serverapp, is_serving=True)

    assert page_config(serverapp) == {DISABLE_RTC: True}


def test_enabled_neighbour_tells_the_page_itself(serverapp: ServerApp) -> None:
    package = ExtensionPackage(name=YDOC_EXTENSION)
    package.enabled = True
    serverapp.extension_manager.extensions[YDOC_EXTENSION] = package
    configure_page(serverapp, is_serving=False)

    assert page_config(serverapp) == {}


@pytest.fixture
def config_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's configuration in which jupyter-server-ydoc is switched on, as its package does."""
    for name in ("JUPYTER_NO_CONFIG", "JUPYTER_CONFIG_PATH", "JUPYTER_PREFER_ENV_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path))
    folder = tmp_path / "jupyter_server_config.d"
    folder.mkdir()
    switched_on = {"ServerApp": {"jpserver_extensions": {YDOC_EXTENSION: True, "collabkernel_server": True}}}
    (folder / "jupyter_collaboration.json").write_text(json.dumps(switched_on))
    return folder


def run(*arguments: str) -> Result:
    return CliRunner().invoke(lab, arguments, catch_exceptions=False)


@pytest.mark.usefixtures("config_dir")
def test_status_says_who_serves() -> None:
    assert "jupyter-server-ydoc serves" in run("status").output


def test_enable_takes_over_and_disable_gives_back(config_dir: Path) -> None:
    taken = run("enable", "--level", "user")

    assert "collabkernel serves" in taken.output
    installed = ExtensionConfigManager(read_config_path=jupyter_config_path())
    assert installed.get_jpserver_extensions()[YDOC_EXTENSION] is False
    given_back = run("disable", "--level", "user")
    assert "jupyter-server-ydoc serves" in given_back.output
    assert [path.name for path in config_dir.iterdir()] == ["jupyter_collaboration.json"]
    assert "There is no" in run("disable", "--level", "user").output


def test_folder_that_cannot_be_written_is_said(config_dir: Path) -> None:
    (config_dir / "zz_collabkernel.json").mkdir()
    result = CliRunner().invoke(lab, ["enable", "--level", "user"])

    assert result.exit_code == 1
    assert "cannot write" in result.output


@pytest.mark.parametrize(
    ("enabled", "is_installed", "expected"),
    [
        ({}, True, "extension enable collabkernel_server"),
        ({"collabkernel_server": True}, False, "pip install"),
        ({"collabkernel_server": True, YDOC_EXTENSION: True}, True, "stands aside"),
        ({"collabkernel_server": True, YDOC_EXTENSION: False}, True, "collabkernel serves"),
    ],
)
def test_each_answer_says_what_to_do(enabled: dict[str, bool], is_installed: bool, expected: str) -> None:
    assert expected in describe(enabled, is_installed, has_front_end=True)


def test_command_line_has_the_commands() -> None:
    assert CliRunner().invoke(main, ["lab", "status"]).exit_code == 0
    assert "lab" in CliRunner().invoke(main, ["--help"]).output
