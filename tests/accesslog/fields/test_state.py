"""Operators for filter state and metadata, as Envoy wrote them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.values.stream.filter_state import Text
from tests.accesslog.known import connected, known, said


class MetadataTests(SynchronousTestCase):
    """Metadata of what a connection passes."""

    def test_kinds(self) -> None:
        """Of the cluster, the host, the listener and the filter chain; routes are HTTP's."""
        text = (
            "%METADATA(CLUSTER:m:k)% %METADATA(UPSTREAM_HOST:h:k)% %METADATA(LISTENER:l:k)% "
            "%METADATA(LISTENER_FILTER_CHAIN:f:k)% %METADATA(ROUTE:a)% %METADATA(VIRTUAL_HOST:a)%"
        )
        self.assertEqual(said(text, connected()), "v hv lv fv - -")
        self.assertEqual(said(text, known()), "- - lv fv - -")

    def test_values(self) -> None:
        """A string is shown as it is, all else as JSON, its keys sorted and no character masked."""
        self.assertEqual(
            said("%CLUSTER_METADATA(m)% %CLUSTER_METADATA(m:deep:x)%", connected()),
            '{"deep":{"x":[1,"a"]},"k":"v","number":2.5} [1,"a"]',
        )
        self.assertEqual(said("%UPSTREAM_METADATA(h)%", connected()), '{"k":"hv"}')

    def test_absent(self) -> None:
        """What is not there is absent: a namespace, a key, and a key of what has none."""
        text = "%CLUSTER_METADATA(x)% %CLUSTER_METADATA(m:x)% %CLUSTER_METADATA(m:k:x)%"
        self.assertEqual(said(text, connected()), "- - -")


class StateTests(SynchronousTestCase):
    """Objects that filters leave."""

    def test_upstream(self) -> None:
        """The upstream connection has the objects that are shared with it, once it is made."""
        text = "%UPSTREAM_FILTER_STATE(pre:PLAIN)% %UPSTREAM_FILTER_STATE(num)%"
        self.assertEqual(said(text, connected()), 'a"b,1 -')
        self.assertEqual(said(text, known()), "- -")

    def test_masked(self) -> None:
        """The JSON of an object masks what protobuf masks."""
        about = known()
        about.set_filter_state("s", Text("a<b>\"\\\xe9\x7f\u2028&'/"))
        self.assertEqual(
            said("%FILTER_STATE(s)%", about),
            '"a\\u003cb\\u003e\\"\\\\\xe9\\u007f\\u2028&\'/"',
        )
