"""The protocol's bytes: protobuf messages, strictly decoded, pure.

``collab.proto`` is the contract; ``collab_pb2.py`` and its stub are generated and checked in. After a change, from the
repository's root::

    python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. collabkernel/wire/collab.proto

Use grpcio-tools 1.76 (protobuf 6.31), in an environment of its own: generated code asks for a runtime at least as new
as the compiler's, and a newer compiler would shut out protobuf 6.33, the oldest that we support.
"""
