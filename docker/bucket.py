"""Make the bucket that MLflow keeps artifacts in, unless it is there: `bucket.py NAME`, endpoint and key from AWS_*."""

from __future__ import annotations

import sys
import time

import boto3
from botocore.exceptions import BotoCoreError, ClientError


def main(name: str) -> None:
    """Wait for the store, at most a minute, then make the bucket."""
    client = boto3.client("s3")
    deadline = time.monotonic() + 60
    while True:
        try:
            if name not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
                client.create_bucket(Bucket=name)
            print(f"The bucket {name} is there.")
            return
        except (BotoCoreError, ClientError) as error:
            if time.monotonic() > deadline:
                sys.exit(f"The bucket {name} cannot be made: {error}. Check AWS_ENDPOINT_URL and the key.")
            time.sleep(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
