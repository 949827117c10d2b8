"""S3's HTTP API on loopback: moto's server, with a bucket, as drivers find it by the environment."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import boto3
import pytest
from moto.server import ThreadedMotoServer

BUCKET = "blobs"
SECRET = "a-secret-of-nobody"


class S3:
    """A server, and what it has."""

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.WARNING)
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._server.start()
        _, self.port = self._server.get_host_and_port()
        self.url = f"s3://{BUCKET}/rooms"
        client = boto3.client("s3", endpoint_url=self.endpoint, aws_access_key_id="x", aws_secret_access_key=SECRET)
        client.create_bucket(Bucket=BUCKET)
        self.client = client

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def keys(self) -> set[str]:
        """All that is in the bucket."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return {found["Key"] for page in pages for found in page.get("Contents", ())}

    def clear(self) -> None:
        """Take everything out."""
        for key in self.keys():
            self.client.delete_object(Bucket=BUCKET, Key=key)

    def stop(self) -> None:
        """End it."""
        self._server.stop()


@contextmanager
def running_s3() -> Iterator[S3]:
    """A server, and an environment that names it, as long as the block lasts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        s3 = S3()
        patch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
        yield s3
        s3.stop()
