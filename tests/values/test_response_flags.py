"""Response flags and their names."""

from __future__ import annotations

from envoy.config.accesslog.v3 import accesslog_pb2
from validate import validate_pb2

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.values.response_flags import NO_FLAGS, ResponseFlag


class NameTests(SynchronousTestCase):
    """What RESPONSE_FLAGS and RESPONSE_FLAGS_LONG show."""

    def test_all_of_them(self) -> None:
        """There is every flag that a log filter may name, and no other."""
        field = accesslog_pb2.ResponseFlagFilter.DESCRIPTOR.fields_by_name["flags"]
        rules = field.GetOptions().Extensions[validate_pb2.rules]
        known = set(rules.repeated.items.string.__getattribute__("in"))
        self.assertEqual(known, {flag.name for flag in ResponseFlag})

    def test_long_names(self) -> None:
        """Each has a long name of its own."""
        names = {flag.long_name for flag in ResponseFlag}
        self.assertEqual(len(ResponseFlag), len(names))
        self.assertNotIn("-", names)

    def test_several(self) -> None:
        """Several are told in the order in which they come about; none is a dash."""
        both = ResponseFlag.URX | ResponseFlag.UF
        self.assertEqual("UF,URX", str(both))
        self.assertEqual("UpstreamConnectionFailure,UpstreamRetryLimitExceeded", both.long_name)
        self.assertEqual(("-", "-"), (str(NO_FLAGS), NO_FLAGS.long_name))
