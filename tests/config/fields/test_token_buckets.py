"""Token buckets that a file has."""

from __future__ import annotations

from envoy.extensions.access_loggers.filters.process_ratelimit.v3 import process_ratelimit_pb2

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.fields.token_buckets import BadBucket, Bucket, read_bucket
from tests.mesh import parse

BUCKET = "max_tokens: 4, tokens_per_fill: 2, fill_interval: 10s"


def bucket_file(path: str, bucket: str = BUCKET, name: str = "r", kind: str = "TokenBucket") -> str:
    """Write a file of discovery with one bucket.

    :return: its path.
    """
    with open(path, "w") as file:
        file.write(
            "resources:\n"
            "- '@type': type.googleapis.com/envoy.service.discovery.v3.Resource\n"
            f"  name: {name}\n"
            f"  resource: {{'@type': type.googleapis.com/envoy.type.v3.{kind}, {bucket}}}\n"
        )
    return path


class FileTests(SynchronousTestCase):
    """What is read of a file."""

    def read(self, path: str, source: str = "path_config_source: {{path: {}}}") -> Bucket:
        """The bucket `r`."""
        text = f"{{resource_name: r, config_source: {{{source.format(path)}}}}}"
        return read_bucket(parse(process_ratelimit_pb2.DynamicTokenBucket, text))

    def test_read(self) -> None:
        """How many tokens it holds, and how many come back in a second; one at a time, where
        nothing else is said.
        """
        path = bucket_file(self.mktemp())
        self.assertEqual(self.read(path), Bucket(4, 0.2))
        self.assertEqual(self.read(path, "path: {}"), Bucket(4, 0.2))
        path = bucket_file(self.mktemp(), "max_tokens: 1, fill_interval: 0.5s")
        self.assertEqual(self.read(path), Bucket(1, 2.0))

    def test_wrong(self) -> None:
        """What is no such bucket is said to be that."""
        broken = self.mktemp()
        with open(broken, "w") as file:
            file.write("[")
        for path, text in (
            ("/nope", "cannot read the file '/nope': No such file"),
            (broken, "is no DiscoveryResponse"),
            (bucket_file(self.mktemp(), name="other"), "has no token bucket 'r'"),
            (bucket_file(self.mktemp(), "value: 1", kind="Percent"), "is no"),
            (bucket_file(self.mktemp(), "max_tokens: 1"), "are greater than 0"),
            (bucket_file(self.mktemp(), "fill_interval: 1s"), "are greater than 0"),
        ):
            self.assertIn(text, str(self.assertRaises(BadBucket, self.read, path)))
        self.assertIn("files only", str(self.assertRaises(BadBucket, self.read, "", "ads: {{}}")))
