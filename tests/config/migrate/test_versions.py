"""What values of enums are called now."""

from __future__ import annotations

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.config_source_pb2 import ApiConfigSource

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.migrate.versions import enum_value, fields_of, older


class EnumTests(SynchronousTestCase):
    """`enum_value`, of a field of the old schema and the one it is in the new."""

    def setUp(self) -> None:
        """A field of each schema that is an enum, and one that is none."""
        now = ApiConfigSource.DESCRIPTOR
        before = older(now)
        assert before is not None
        self.was, self.now = fields_of(before)["api_type"], now.fields_by_name["api_type"]
        self.text = Cluster.DESCRIPTOR.fields_by_name["name"]

    def test_stays(self) -> None:
        """A name that both know stays, in capitals or not, and so does one that nobody knows."""
        for name in ("GRPC", "grpc", "REST", "whatever"):
            self.assertEqual(name, enum_value(self.was, self.now, name))

    def test_gone(self) -> None:
        """One that the old schema knows, and of which the new one has kept the number alone, is
        nothing any more.
        """
        gone = "UNSUPPORTED_REST_LEGACY"
        self.assertEqual("", enum_value(self.was, self.now, gone))
        self.assertEqual("", enum_value(self.was, self.now, gone.lower()))

    def test_no_enum(self) -> None:
        """Where one of the two is no enum, or there was no such field, the text stays."""
        gone = "UNSUPPORTED_REST_LEGACY"
        for was, now in ((None, self.now), (self.text, self.now), (self.was, self.text)):
            self.assertEqual(gone, enum_value(was, now, gone))
