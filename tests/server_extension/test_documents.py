"""A block document on a real server: two clients, and what the server reads back when it starts again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import collabkernel as ck
from tests.client.waiting import wait_for
from tests.server_extension.running_server import RunningServer

pytestmark = pytest.mark.heavy


def test_two_clients_edit_a_document_and_the_server_reads_it_back(
    start_server: Callable[..., RunningServer], tmp_path: Path
) -> None:
    server = start_server(folder=tmp_path)
    where = {"url": server.base_url, "token": server.kernel_token}
    with ck.connect("documents", **where) as ann, ck.connect("documents", **where) as bob:
        mine, theirs = ann.doc("body"), bob.doc("body")
        heading, first, second = mine.append("## Plan\n\none two\n\nthree")
        wait_for(bob, lambda: len(theirs) == 3)
        theirs[first.id].text += "!"
        second.move(after=heading)
        first.split(3)
        wait_for(ann, lambda: "!" in mine.text)
        wait_for(bob, lambda: mine.markdown() == theirs.markdown())
        shown = mine.markdown()
        assert [block.text for block in mine] == ["Plan", "three", "one", " two!"]
    server.stop()

    server = start_server(folder=tmp_path)
    with ck.connect("documents", url=server.base_url, token=server.kernel_token) as late:
        assert late.doc("body").markdown() == shown
        late.doc("body")[heading.id].delete()
        late.flush()
        assert len(late.doc("body")) == 3
