"""Makes the bucket that MLflow keeps its artifacts in, unless it is there.

    python docker/bucket.py NAME

The store is ``MLFLOW_S3_ENDPOINT_URL``, the keys are ``AWS_ACCESS_KEY_ID`` and ``AWS_SECRET_ACCESS_KEY``. Without keys
it fails, so that nothing starts on a store that is open to everybody.
"""

from __future__ import annotations

import os
import sys

import boto3


def make_bucket(name: str) -> None:
    """Makes a bucket; one that is there stays as it is."""
    s3 = boto3.client("s3", endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"], region_name="us-east-1")
    if name not in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}:
        s3.create_bucket(Bucket=name)


if __name__ == "__main__":
    if not os.environ.get("AWS_SECRET_ACCESS_KEY"):
        sys.exit("set S3_ACCESS_KEY and S3_SECRET_KEY: the store is open to everybody without them")
    make_bucket(sys.argv[1])
