"""S3 as `moto` plays it, for tests of what keeps its files there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import boto3
from moto.server import ThreadedMotoServer

BUCKET = "zhiwang-test"


@contextmanager
def played_s3() -> Iterator[str]:
    """A bucket of its own; gives the address for `MEDIA_URL`. The environment leads to it meanwhile."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }
    before = dict(os.environ)
    os.environ |= settings
    boto3.client("s3", region_name="us-east-1", endpoint_url=settings["AWS_ENDPOINT_URL"]).create_bucket(Bucket=BUCKET)
    try:
        yield f"s3://{BUCKET}/media"
    finally:
        os.environ.clear()
        os.environ |= before
        server.stop()
