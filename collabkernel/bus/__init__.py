"""Fan-out between servers: a protocol and its memory twin."""
