"""Which extensions of a PROXY header pass."""

from __future__ import annotations

from envoy.config.core.v3.proxy_protocol_pb2 import ProxyProtocolConfig

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.connection.proxy_header import PassThrough
from tcpmesh.wire.proxy_protocol import block_of
from tests.mesh import parse

ONE, TWO, LAST = (block_of([each]) for each in ((1, b"a"), (2, b"b"), (1, b"c")))
TLVS = ONE + TWO + LAST


class PassThroughTests(SynchronousTestCase):
    """What a rule lets pass."""

    def test_rules(self) -> None:
        """None where nothing is said; all, as is the default; or those of the types that are
        named.
        """
        for fields, passing in (
            ("", b""),
            ("pass_through_tlvs: {}", TLVS),
            ("pass_through_tlvs: {match_type: INCLUDE_ALL, tlv_type: [2]}", TLVS),
            ("pass_through_tlvs: {match_type: INCLUDE, tlv_type: [1, 3]}", ONE + LAST),
            ("pass_through_tlvs: {match_type: INCLUDE}", b""),
        ):
            rule = PassThrough(parse(ProxyProtocolConfig, fields))
            self.assertEqual(passing, rule.of(TLVS), fields)
