"""Who serves JupyterLab's shared documents: we, jupyter-server-ydoc, or nobody; and the commands that change it.

Jupyter merges the files in ``jupyter_server_config.d`` by name, so one that shall switch off what
``jupyter_collaboration.json`` switches on has to sort behind it. Nothing is switched off by installing us: the file is
written by ``collabkernel lab enable``, and removed by ``collabkernel lab disable``.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:  # slow to import, and the command line loads this module to list its commands
    from jupyter_server.serverapp import ServerApp

OUR_EXTENSION = "collabkernel_server"
YDOC_EXTENSION = "jupyter_server_ydoc"
"""jupyter-server-ydoc's extension, which serves the same addresses."""
NBMODEL_EXTENSION = "jupyter_server_nbmodel"
"""jupyter-server-nbmodel's extension, which runs cells at the address that ours are run at."""
DISABLE_RTC = "disableRTC"
"""JupyterLab's page config: its front end shares documents unless this is true."""
SERVER_SIDE_EXECUTION = "serverSideExecution"
"""... and asks the server to run cells if this is true."""
CONFIG_FILE = Path("jupyter_server_config.d") / "zz_collabkernel.json"
_CONFIG = {"ServerApp": {"jpserver_extensions": {OUR_EXTENSION: True, YDOC_EXTENSION: False}}}


def is_lab_installed() -> bool:
    """Whether the packages of the extra ``collabkernel[lab]`` are there."""
    return importlib.util.find_spec("jupyter_ydoc") is not None


def is_ydoc_enabled(serverapp: ServerApp) -> bool:
    """Whether jupyter-server-ydoc serves the documents of this server."""
    return is_enabled(serverapp, YDOC_EXTENSION)


def is_enabled(serverapp: ServerApp, extension: str) -> bool:
    """Whether a server extension of that name is enabled."""
    package = serverapp.extension_manager.extensions.get(extension)
    return package is not None and package.enabled


def configure_page(serverapp: ServerApp, is_serving: bool, runs_cells: bool = False) -> None:
    """Tell JupyterLab's front end whether documents are shared, and whether their cells run on the server.

    jupyter-server-ydoc, when enabled, tells it itself.
    """
    if not is_ydoc_enabled(serverapp):
        page = serverapp.web_app.settings.setdefault("page_config_data", {})
        page.setdefault(DISABLE_RTC, not is_serving)
        if runs_cells:
            page.setdefault(SERVER_SIDE_EXECUTION, True)


# -- commands


def _folder(level: str) -> Path:
    from jupyter_core.paths import ENV_CONFIG_PATH, SYSTEM_CONFIG_PATH, jupyter_config_dir

    folders = {"sys-prefix": ENV_CONFIG_PATH[0], "user": jupyter_config_dir(), "system": SYSTEM_CONFIG_PATH[0]}
    return Path(folders[level])


def _levels(command: click.decorators.FC) -> click.decorators.FC:
    return click.option(
        "--level",
        type=click.Choice(["sys-prefix", "user", "system"]),
        default="sys-prefix",
        show_default=True,
        help="Where: in this Python environment, for this user, or for this machine.",
    )(command)


def _enabled() -> dict[str, bool]:
    """Which server extensions Jupyter's configuration files switch on and off, all of them merged."""
    from jupyter_core.paths import jupyter_config_path
    from jupyter_server.extension.config import ExtensionConfigManager

    config = ExtensionConfigManager(read_config_path=jupyter_config_path())
    return dict(config.get_jpserver_extensions())


@click.group()
def lab() -> None:
    """Let collabkernel serve JupyterLab's shared notebooks and files.

    It does so by itself once collabkernel[lab] is installed, unless jupyter-server-ydoc (part of
    jupyter-collaboration) is installed too: two servers cannot have the same addresses.
    """


@lab.command()
@_levels
def enable(level: str) -> None:
    """Switch jupyter-server-ydoc off, and collabkernel on in its place.

    \b
    Examples:
      collabkernel lab enable
      collabkernel lab enable --level user
    """
    path = _folder(level) / CONFIG_FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(_CONFIG, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"cannot write {path}: {error.strerror}; try --level user") from None
    click.echo(f"Wrote {path}")
    _tell_status()


@lab.command()
@_levels
def disable(level: str) -> None:
    """Take back what `enable` wrote: jupyter-server-ydoc serves the documents again where it is installed.

    \b
    Examples:
      collabkernel lab disable
    """
    path = _folder(level) / CONFIG_FILE
    try:
        path.unlink()
    except FileNotFoundError:
        click.echo(f"There is no {path}")
    except OSError as error:
        raise click.ClickException(f"cannot remove {path}: {error.strerror}") from None
    else:
        click.echo(f"Removed {path}")
    _tell_status()


@lab.command()
def status() -> None:
    """Tell who serves the documents of a Jupyter server that starts now.

    \b
    Examples:
      collabkernel lab status
    """
    _tell_status()


def _tell_status() -> None:
    click.echo(describe(_enabled(), is_lab_installed(), _has_front_end()))


def _has_front_end() -> bool:
    from jupyter_core.paths import jupyter_path

    return any(Path(folder, "@jupyter/docprovider-extension").is_dir() for folder in jupyter_path("labextensions"))


def describe(enabled: dict[str, bool], is_installed: bool, has_front_end: bool) -> str:
    """What follows from the configuration files; command lines and Python files may still say otherwise."""
    if not enabled.get(OUR_EXTENSION, False):
        return "collabkernel's server extension is not enabled: `jupyter server extension enable collabkernel_server`."
    if not is_installed or not has_front_end:
        return "JupyterLab's documents are not shared: pip install 'collabkernel[lab]'."
    if enabled.get(YDOC_EXTENSION, False):
        return (
            "jupyter-server-ydoc serves JupyterLab's documents, and collabkernel stands aside."
            " `collabkernel lab enable` makes collabkernel serve them."
        )
    return (
        "collabkernel serves JupyterLab's documents (a running server, after its restart)."
        " To switch that off: --CollabKernelServer.lab_rooms=False."
    )
