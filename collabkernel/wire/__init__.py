"""The protocol's bytes: protobuf messages, strictly decoded, pure."""
