"""What docs/OPERATIONS.md and its examples name exists: traits, metrics, codes, lines of the log, files."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import yaml
from click import Context
from collabkernel_server.app import CollabKernelServer
from jupyter_server.auth import IdentityProvider
from jupyter_server.serverapp import ServerApp
from prometheus_client import REGISTRY
from sqlalchemy.engine import make_url
from traitlets.config import Configurable

from collabkernel import cli, errors, metrics
from collabkernel.limits import Limits
from tests.server_extension.running_server import RunningServer

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


@pytest.fixture
def kubernetes() -> dict[str, dict[str, Any]]:
    """The other example, by kind; of claims there are two."""
    return {each["kind"]: each for each in yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text())}


def container(kubernetes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    (server,) = kubernetes["Deployment"]["spec"]["template"]["spec"]["containers"]
    return dict(server)


def test_the_pods_are_the_servers_of_the_compose_file(kubernetes: dict[str, dict[str, Any]]):
    server, pod = compose()["services"]["server-1"], container(kubernetes)
    assert (pod["image"], pod["command"]) == (server["image"], server["command"])
    given = options(server)
    (port,) = pod["ports"]
    assert str(port["containerPort"]) == given["port"]
    (exposed,) = kubernetes["Service"]["spec"]["ports"]
    probes = [pod[name]["httpGet"]["port"] for name in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert {exposed["targetPort"], *probes} == {port["name"]}
    mounted = {each["mountPath"] for each in pod["volumeMounts"]}
    wanted = ("ServerApp.root_dir", "ServerApp.cookie_secret_file", "CollabKernelServer.outputs_dir")
    assert mounted == {given[name] for name in wanted}
    assert set(server["environment"]) <= {each["name"] for each in pod["env"]}


def test_the_parts_of_the_kubernetes_file_fit_together(kubernetes: dict[str, dict[str, Any]]):
    deployment = kubernetes["Deployment"]["spec"]
    labels, spec = deployment["template"]["metadata"]["labels"], deployment["template"]["spec"]
    assert kubernetes["Service"]["spec"]["selector"] == labels
    assert deployment["selector"]["matchLabels"] == labels
    assert kubernetes["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    claims = re.findall(r"kind: PersistentVolumeClaim\nmetadata:\n  name: (\S+)", kubernetes_text())
    volumes = {each["name"]: each for each in spec["volumes"]}
    assert {each["name"] for each in container(kubernetes)["volumeMounts"]} == set(volumes)
    assert [
        each["persistentVolumeClaim"]["claimName"] for each in spec["volumes"] if each["name"] != "secrets"
    ] == claims
    made = set(re.findall(r"--from-literal=(\w+)=", kubernetes_text()))
    asked = {each["valueFrom"]["secretKeyRef"]["key"] for each in container(kubernetes)["env"]}
    (file,) = volumes["secrets"]["secret"]["items"]
    assert asked | {file["key"]} == made
    names = [each["valueFrom"]["secretKeyRef"]["name"] for each in container(kubernetes)["env"]]
    assert {*names, volumes["secrets"]["secret"]["secretName"]} == set(
        re.findall(r"secret generic (\S+)", kubernetes_text())
    )


def kubernetes_text() -> str:
    return (EXAMPLES / "kubernetes.yaml").read_text()


def test_a_pod_ends_behind_its_drain(kubernetes: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch):
    program, subcommand, *arguments = container(kubernetes)["lifecycle"]["preStop"]["exec"]["command"]
    assert program in {point.name for point in entry_points(group="console_scripts")}
    command = cli.main.get_command(Context(cli.main), subcommand)
    assert command is not None
    monkeypatch.setenv("COLLABKERNEL_TOKEN", "secret")
    with command.make_context(subcommand, arguments) as context:
        given = context.params
    assert given["token"] == "secret"
    grace_s = kubernetes["Deployment"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace_s > given["seconds"] + cli.TIMEOUT_S + Limits().shutdown_ms / 1000
    stop_s = compose()["services"]["server-1"]["stop_grace_period"].removesuffix("s")
    assert int(stop_s) > Limits().shutdown_ms / 1000


def test_what_is_asked_about_health_is_answered_without_a_login(kubernetes: dict[str, dict[str, Any]], tmp_path: Path):
    health = compose()["services"]["server-1"]["healthcheck"]["test"][-1]
    paths = set(re.findall(r"http://127\.0\.0\.1:8888(/[\w/]+)", health))
    assert len(paths) == 1
    paths |= {
        container(kubernetes)[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    server = RunningServer(tmp_path)
    try:
        answers = {path: server.request("GET", path.lstrip("/"), person=None).status for path in paths}
    finally:
        server.stop()
    assert answers == dict.fromkeys(paths, 200)


def test_jupyters_token_comes_from_the_environment(
    kubernetes: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("JUPYTER_TOKEN", "secret")
    assert IdentityProvider().token == "secret"
    known = {"JUPYTER_TOKEN", "PGPASSWORD", "COLLABKERNEL_TOKEN"}
    assert {each["name"] for each in container(kubernetes)["env"]} == known
    assert set(compose()["services"]["server-1"]["environment"]) <= known


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
