"""The kernels' token: in a 0600 file, in the environment by path alone, worthless after the stop."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from collabkernel_server.credentials import TOKEN_FILE_VARIABLE, URL_VARIABLE, KernelCredential
from jupyter_server.auth import User


@pytest.fixture
def credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KernelCredential:
    monkeypatch.setenv(URL_VARIABLE, "http://before/")
    monkeypatch.delenv(TOKEN_FILE_VARIABLE, raising=False)
    return KernelCredential(User("ann"), str(tmp_path / "runtime"))


def test_published_token_is_private_and_known(credential: KernelCredential) -> None:
    credential.publish("http://127.0.0.1:8888/base/")
    token = credential.path.read_text()

    assert stat.S_IMODE(credential.path.stat().st_mode) == 0o600
    assert os.environ[URL_VARIABLE] == "http://127.0.0.1:8888/base/"
    assert os.environ[TOKEN_FILE_VARIABLE] == str(credential.path)
    assert token not in os.environ.values()
    assert credential.user_of(f"token {token}") == User("ann")
    assert credential.user_of(f"Bearer {token}") == User("ann")
    credential.withdraw()


@pytest.mark.parametrize("header", ["", "token", "token x", "Basic {}", "{}", "token {}x", "token x{}", "token {} {}"])
def test_other_headers_are_nobody(credential: KernelCredential, header: str) -> None:
    credential.publish("http://127.0.0.1:8888/")

    assert credential.user_of(header.replace("{}", credential.path.read_text())) is None
    credential.withdraw()


def test_withdrawn_token_is_worthless_and_the_environment_as_before(credential: KernelCredential) -> None:
    credential.publish("http://127.0.0.1:8888/")
    token = credential.path.read_text()
    credential.withdraw()
    credential.withdraw()

    assert credential.user_of(f"token {token}") is None
    assert not credential.path.exists()
    assert os.environ[URL_VARIABLE] == "http://before/"
    assert TOKEN_FILE_VARIABLE not in os.environ


def test_unpublished_credential_knows_nobody(credential: KernelCredential) -> None:
    assert credential.user_of("token ") is None
    assert credential.user_of("token x") is None


def test_files_of_killed_servers_are_swept_and_those_of_living_ones_kept(credential: KernelCredential) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    folder = credential.path.parent
    folder.mkdir()
    dead, living, other = (
        folder / name
        for name in (
            f"collabkernel-{child.pid}-ab12.token",
            f"collabkernel-{os.getpid()}-ab12.token",
            "collabkernel-x.token",
        )
    )
    for path in (dead, living, other):
        path.write_text("")
    credential.publish("http://127.0.0.1:8888/")

    assert [path.exists() for path in (dead, living, other)] == [False, True, True]
    credential.withdraw()
