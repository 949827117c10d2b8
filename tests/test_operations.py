"""What docs/OPERATIONS.md and its examples name exists: traits, metrics, codes, lines of the log, files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from collabkernel_server.app import CollabKernelServer
from jupyter_server.auth import IdentityProvider
from jupyter_server.serverapp import ServerApp
from prometheus_client import REGISTRY
from sqlalchemy.engine import make_url
from traitlets.config import Configurable

from collabkernel import errors, metrics

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
EXAMPLES = DOCS / "examples"
SERVERS = ["server-1", "server-2", "server-3"]
CONFIGURED: dict[str, type[Configurable]] = {
    "CollabKernelServer": CollabKernelServer,
    "IdentityProvider": IdentityProvider,
    "ServerApp": ServerApp,
}


def compose() -> dict[str, Any]:
    """The example, with its anchors resolved."""
    parsed: dict[str, Any] = yaml.safe_load((EXAMPLES / "compose.yaml").read_text())
    return parsed


def options(service: dict[str, Any]) -> dict[str, str]:
    """What the command line of a server sets."""
    program, subcommand, *arguments = service["command"]
    assert (program, subcommand) == ("jupyter", "lab")
    return dict(argument.removeprefix("--").partition("=")[::2] for argument in arguments)


@pytest.mark.parametrize("name", SERVERS)
def test_every_option_of_the_compose_file_is_a_trait_and_takes_its_value(name: str):
    server = ServerApp()
    for option, value in options(compose()["services"][name]).items():
        class_name, _, trait = option.rpartition(".")
        if not class_name:
            assert option in {*server.aliases, *server.flags}, f"--{option} is no option of Jupyter's"
            continue
        known = CONFIGURED[class_name].class_traits(config=True)
        assert trait in known, f"--{option} is no trait"
        assert known[trait].from_string(value) is not None


def test_the_parts_of_the_compose_file_fit_together():
    parts = compose()
    services = parts["services"]
    assert [name for name in services if name.startswith("server")] == SERVERS
    server = services["server-1"]
    given = options(server)
    database, redis = make_url(given["CollabKernelServer.db_url"]), make_url(given["CollabKernelServer.redis_url"])
    postgres = services[str(database.host)]["environment"]
    assert (database.username, database.database) == (postgres["POSTGRES_USER"], postgres["POSTGRES_DB"])
    assert server["environment"]["PGPASSWORD"] == postgres["POSTGRES_PASSWORD"]
    assert redis.host in services
    assert set(server["depends_on"]) == {database.host, redis.host}
    assert given["ServerApp.cookie_secret_file"] == f"/run/secrets/{server['secrets'][0]}"
    assert server["secrets"] == list(parts["secrets"])
    mounted = {volume.partition(":")[2]: volume.partition(":")[0] for volume in server["volumes"]}
    for folder in (given["ServerApp.root_dir"], given["CollabKernelServer.outputs_dir"]):
        assert mounted[folder] in parts["volumes"], "all servers share it"
        assert folder in server["build"]["dockerfile_inline"], "its owner is not root"
    upstreams = re.findall(r"server (server-\d):(\d+)", (EXAMPLES / "nginx.conf").read_text())
    assert upstreams == [(name, given["port"]) for name in SERVERS] * 2
    assert "./nginx.conf:/etc/nginx/conf.d/default.conf:ro" in services["nginx"]["volumes"]


def test_what_the_image_is_made_of_is_there():
    recipe = compose()["x-server"]["build"]["dockerfile_inline"]
    copied = [name for line in re.findall(r"COPY (.*) \S+", recipe) for name in line.split()]
    assert copied
    assert all((ROOT / name).exists() for name in copied)
    (extras,) = re.findall(r"\[([\w,]+)\]", recipe)
    assert all(f"\n{extra} = [" in (ROOT / "pyproject.toml").read_text() for extra in extras.split(","))


def text() -> str:
    return (DOCS / "OPERATIONS.md").read_text()


def code_words(pattern: str) -> set[str]:
    """Of what stands in backticks."""
    prose = re.sub(r"```.*?```", "", text(), flags=re.DOTALL)
    return {word for span in re.findall(r"`([^`]+)`", prose) for word in re.findall(pattern, span)}


def test_every_metric_that_it_names_is_exported():
    exported = {sample.name for family in REGISTRY.collect() for sample in family.samples}
    exported |= {family.name for family in REGISTRY.collect()}
    exported |= {f"{family.name}_total" for family in REGISTRY.collect() if family.type == "counter"}
    named = code_words(r"\bcollabkernel_(?!server\b)\w+|\bstorage_op_\w+|\bsnapshot_\w+|\boplog_\w+")

    assert len(named) > 10
    assert named <= exported, named - exported


def test_every_trait_that_it_names_is_one():
    known = {name for each in CONFIGURED.values() for name in each.class_trait_names(config=True)}
    named = code_words(r"(?:^|\.)([a-z]+(?:_[a-z]+)*_(?:ms|s|url|dir|days|secret_file|name))\b")
    metric_names = {"storage_op_rtt_ms", "snapshot_latency_ms", "degraded_since_ms"}

    assert {"db_url", "redis_url", "outputs_dir", "shutdown_ms", "storage_retry_max_ms", "storage_slow_ms"} <= named
    assert named - metric_names <= known, named - metric_names - known


def test_every_code_that_it_names_is_one():
    codes = {each.code for each in vars(errors).values() if isinstance(each, type) and hasattr(each, "code")}
    rows = text().partition("## When something fails")[2].partition("## ")[0].splitlines()[4:]
    looks = [row.split("|")[2] for row in rows if row.startswith("| ")]
    shown = {code for cell in looks for code in re.findall(r"`([a-z]+-[a-z]+)`", cell)}

    assert len(shown) > 5
    assert shown <= codes | metrics.REJECT_CODES, shown - codes


def test_every_line_of_the_log_that_it_quotes_is_written():
    folders = (ROOT / "collabkernel", ROOT / "server_extension")
    sources = "".join(path.read_text() for folder in folders for path in folder.rglob("*.py"))
    quoted = re.findall(r'`"([^"]+)"', text())

    assert len(quoted) >= 5
    assert [line for line in quoted if line not in sources] == []


def test_every_file_and_heading_that_it_links_to_is_there():
    for page in ("OPERATIONS.md", "SERVERS.md"):
        for link in re.findall(r"\]\(([^)]+)\)", (DOCS / page).read_text()):
            name, _, anchor = link.partition("#")
            target = DOCS / name
            assert target.exists(), f"{page} links to {link}"
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-")) for heading in headings}
            assert not anchor or anchor in anchors, f"{page} links to {link}"
