"""The certificates of a whole proxy."""

from __future__ import annotations

from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.transport_sockets.proxy_protocol.v3 import upstream_proxy_protocol_pb2
from google.protobuf import json_format

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.extensions.transport_sockets.tls import shown
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
