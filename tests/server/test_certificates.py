"""The certificates of a whole proxy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.transport_sockets.proxy_protocol.v3 import upstream_proxy_protocol_pb2
from google.protobuf import json_format

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.extensions.transport_sockets.tls import shown
from tcpmesh.net.cooperator import shared_cooperator
from tcpmesh.server.certificates import Certificates
from tcpmesh.values.statuses import TlsContextStatus
from tests.extensions.transport_sockets.tls.test_shown import LEAF, ROOT, pair, seconds

TYPE = "type.googleapis.com/envoy.extensions.transport_sockets."


def socket(kind: str, **common: Any) -> dict[str, Any]:
    """A transport socket."""
    typed = {"@type": f"{TYPE}tls.v3.{kind}TlsContext", "common_tls_context": common}
    return {"transport_socket": {"name": "tls", "typed_config": typed}}


def messages() -> list[Any]:
    """A listener and a cluster, some of which have TLS."""
    own = socket("Downstream", tls_certificates=[pair(LEAF)])
    trusting = {"trusted_ca": {"inline_string": ROOT.pem}}
    upstream = socket("Upstream", validation_context=trusting)
    wrapping = upstream_proxy_protocol_pb2.ProxyProtocolUpstreamTransport
    wrapped = {
        "@type": f"type.googleapis.com/{wrapping.DESCRIPTOR.full_name}",
        **upstream,
    }
    listener = {"filter_chains": [own, {}, own], "default_filter_chain": own}
    matches = [{"name": "m", "transport_socket": {"name": "w", "typed_config": wrapped}}]
    return [
        json_format.ParseDict(listener, Listener()),
        json_format.ParseDict({**upstream, "transport_socket_matches": matches}, Cluster()),
        Cluster(),
    ]


class CertificatesTests(SynchronousTestCase):
    """Contexts in listeners and clusters."""

    def test_statuses(self) -> None:
        """All contexts are found, also those inside of other transport sockets."""
        found = Certificates({}).statuses(messages())
        self.assertEqual(
            [(len(each.ca_cert), len(each.cert_chain)) for each in found],
            [(0, 1)] * 3 + [(1, 0)] * 2,
        )

    def test_equal_contexts(self) -> None:
        """The files of contexts that are equal are read once, then and later."""
        read: list[Any] = []

        def context_status(common: Any, secrets: Any) -> TlsContextStatus:
            read.append(common)
            return status(common, secrets)

        status = shown.context_status
        self.patch(shown, "context_status", context_status)
        certificates = Certificates({})
        for _ in range(2):
            self.assertEqual(5, len(certificates.statuses(messages())))
            self.assertEqual(2, len(read))

    def test_first_end(self) -> None:
        """It is known when the first certificate expires."""
        certificates = Certificates({})
        self.assertIsNone(certificates.first_end)
        certificates.look_at(messages())
        self.assertEqual(certificates.first_end, seconds(LEAF))
        self.assertIsNone(certificates.first_ocsp_end)
        certificates.look_at([])
        self.assertIsNone(certificates.first_end)

    def test_in_steps(self) -> None:
        """However many listeners and clusters there are, with TLS or without, a turn looks at a
        few.
        """
        clock = Clock()
        looked_at = []

        def many() -> Iterator[Any]:
            for index in range(10_000):
                looked_at.append(index)
                yield Cluster()
            yield messages()[0]

        certificates = Certificates({})
        cooperator = shared_cooperator(clock, now=lambda: len(looked_at) / 50)
        certificates.look_again(cooperator, many)
        self.assertLess(len(looked_at), 100)
        while clock.getDelayedCalls():
            clock.advance(0)
        self.assertEqual(certificates.first_end, seconds(LEAF))
