"""The frozen bytes: what each message is, what must be refused, and that neither changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from collabkernel.errors import RemoteProtocolError
from collabkernel.limits import Limits
from collabkernel.wire import codec
from tests.fixtures.wire import json_form, make

FIXTURES = Path(__file__).parent.parent / "fixtures" / "wire"
MESSAGES = json.loads((FIXTURES / "messages.json").read_text(encoding="utf-8"))
BAD = json.loads((FIXTURES / "bad.json").read_text(encoding="utf-8"))


def _named(entry: dict[str, Any]) -> str:
    return f"{entry['direction']}: {entry['name']}"


@pytest.mark.parametrize("entry", MESSAGES, ids=_named)
def test_frozen_message_is_decoded_as_before(entry: dict[str, Any]):
    frame = bytes.fromhex(entry["hex"])

    if entry["direction"] == "client":
        message = codec.decode_client_message(frame, Limits())
        assert codec.encode_client_message(message) == frame
        form = json_form.client_to_json(message)
    else:
        form = json_form.server_to_json(codec.decode_server_message(frame, Limits()))

    assert json.dumps(form) == json.dumps(entry["decoded"])


@pytest.mark.parametrize("entry", BAD, ids=_named)
def test_bad_frame_is_refused_with_its_code(entry: dict[str, Any]):
    frame = bytes.fromhex(entry["hex"])
    decode = codec.decode_client_message if entry["direction"] == "client" else codec.decode_server_message

    with pytest.raises(RemoteProtocolError) as refused:
        decode(frame, Limits(**entry["limits"]))

    assert refused.value.code == entry["code"]


@pytest.mark.parametrize("name", ["messages.json", "bad.json"])
def test_the_script_writes_the_same_bytes(name: str, tmp_path: Path):
    make.main(tmp_path)

    assert (tmp_path / name).read_bytes() == (FIXTURES / name).read_bytes()


def test_json_form_reads_back_what_it_wrote():
    for entry in MESSAGES:
        envelopes = entry["decoded"].get("envelopes", [])
        assert [json_form.envelope_to_json(json_form.envelope_from_json(each)) for each in envelopes] == envelopes
        stored = entry["decoded"].get("ops", [])
        assert [json_form.stored_to_json(json_form.stored_from_json(each)) for each in stored] == stored


def test_names_are_unique():
    for entries in (MESSAGES, BAD):
        assert len({_named(entry) for entry in entries}) == len(entries)
