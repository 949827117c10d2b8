"""The generated code that is checked in is what ``collab.proto`` says, and runs on the oldest protobuf we support."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from collabkernel.wire import collab_pb2 as pb

ROOT = Path(__file__).parent.parent.parent
PROTO = "collabkernel/wire/collab.proto"


def test_generated_code_is_up_to_date(tmp_path: Path):
    protoc = pytest.importorskip("grpc_tools.protoc", reason="grpcio-tools is of the extra dev")
    compiled = tmp_path / "collab.binpb"

    assert protoc.main(["protoc", f"-I{ROOT}", f"--descriptor_set_out={compiled}", PROTO]) == 0

    (file,) = FileDescriptorSet.FromString(compiled.read_bytes()).file
    checked_in = FileDescriptorProto.FromString(pb.DESCRIPTOR.serialized_pb)
    for message in file.message_type:
        for field in message.field:
            field.ClearField("json_name")  # protoc writes these for others, and not into generated code.
    assert checked_in == file, "generate it again: the command is in collabkernel/wire/__init__.py"


def test_generated_code_runs_on_the_oldest_protobuf():
    generated = (ROOT / "collabkernel" / "wire" / "collab_pb2.py").read_text()
    oldest = re.search(r'"protobuf>=(\d+)\.(\d+)', (ROOT / "pyproject.toml").read_text())
    compiler = re.search(r"# Protobuf Python Version: (\d+)\.(\d+)", generated)

    assert oldest is not None
    assert compiler is not None
    assert tuple(map(int, compiler.groups())) <= tuple(map(int, oldest.groups()))
