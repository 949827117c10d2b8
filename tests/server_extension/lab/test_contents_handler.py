"""Whether a file may be written, as the answer to who asks says it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from collabkernel_server.lab.hash_news import PAGES_ASK_S

from collabkernel.wire.y_protocol import encode_awareness, state_json
from tests.server_extension.lab.yjs_member import AWARENESS, YMember, new_file
from tests.server_extension.running_server import Answer, RunningServer


def contents(server: RunningServer, path: str, person: str) -> Any:
    return server.request("GET", f"api/contents/{path}", person=person).json


def test_who_may_only_read_is_told_so_of_every_file(server: RunningServer) -> None:
    (server.folder / "plans").mkdir()
    (server.folder / "plans" / "one.txt").write_text("plan")

    for person, may_write in (("ann", True), ("reader", False)):
        one = contents(server, "plans/one.txt", person)
        assert one["content"] == "plan"
        assert one["writable"] is may_write
        (entry,) = contents(server, "plans", person)["content"]
        assert entry["name"] == "one.txt"
        assert entry["writable"] is may_write


def test_what_else_is_below_a_file_answers_as_before(server: RunningServer) -> None:
    (server.folder / "kept.txt").write_text("plan")

    assert contents(server, "kept.txt/checkpoints", "ann") == []
    assert server.request("GET", "api/contents/kept.txt", person=None).status == 403
    assert server.request("GET", "api/contents/none.txt", person="reader").status == 404


def test_the_hash_is_told_to_a_user_when_his_page_has_asked_about_it(server: RunningServer) -> None:
    ann = YMember(server, new_file(server, "hashed.txt"), client_id=7).sync()
    ann.socket.send(encode_awareness([(7, 1, state_json({"autosave": True}))]))
    ann.receive(lambda frame: frame[0] == AWARENESS)  # the room has it
    ann.edit(" B")
    started_s = time.monotonic()
    assert ann.save(1)["status"] == "success"

    ended_s: dict[str, float] = {}

    def ask(query: str, person: str) -> Answer:
        answer = server.request("GET", f"api/contents/hashed.txt?content=0&{query}", person=person)
        ended_s[query + person] = time.monotonic()
        return answer

    with ThreadPoolExecutor() as asked:
        check = asked.submit(ask, "hash=1", "ann")
        for _ in range(5):  # long enough for Ann's to be answered, if she were not waited for
            others = ask("hash=1", "bob")
        about = ask("hash=0", "ann")
        assert check.result().json["hash"] == others.json["hash"]
    assert about.json["hash"] is None
    waited_s = ended_s["hash=1ann"] - started_s
    assert ended_s["hash=0ann"] <= ended_s["hash=1ann"] or waited_s >= PAGES_ASK_S, "the page knew nothing of it"
    ann.socket.close()
