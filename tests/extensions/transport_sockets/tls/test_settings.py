"""What the messages of TLS come to."""

from __future__ import annotations

from typing import Any

from envoy.extensions.transport_sockets.tls.v3 import common_pb2, tls_pb2
from google.protobuf.json_format import ParseDict

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.extensions.transport_sockets.tls.settings import downstream, upstream
from tcpmesh.extensions.transport_sockets.tls.validation_context import settings_of
from tests.net.tls.cases import cases
from tests.net.tls.test_verifier import settings


def of_clients(**fields: Any) -> Any:
    """The settings of a `DownstreamTlsContext`."""
    return downstream(ParseDict(fields, tls_pb2.DownstreamTlsContext()), {})


def of_hosts(**fields: Any) -> Any:
    """Those of an `UpstreamTlsContext`."""
    return upstream(ParseDict(fields, tls_pb2.UpstreamTlsContext()), {})


class SettingsTests(SynchronousTestCase):
    """Contexts as a whole."""

    def test_sessions(self) -> None:
        """Clients may resume sessions for two hours, by ticket or by name, and of those with hosts
        one is kept, unless something else is said.
        """
        kept = of_clients().resumption
        self.assertEqual((kept.timeout, kept.by_ticket, kept.by_id), (7200, True, True))
        said = of_clients(
            session_timeout="9.5s",
            disable_stateless_session_resumption=True,
            disable_stateful_session_resumption=True,
        ).resumption
        self.assertEqual((said.timeout, said.by_ticket, said.by_id), (9, False, False))
        self.assertEqual(of_hosts().sessions_kept, 1)
        self.assertEqual([of_hosts(max_session_keys=n).sessions_kept for n in (0, 7)], [0, 7])

    def test_validation(self) -> None:
        """A validation context says what is demanded of peers, in each of the cases in which it is
        held against Envoy.
        """
        for case in cases():
            if case.context is None or case.spiffe:
                continue
            message = ParseDict(case.context, common_pb2.CertificateValidationContext())
            self.assertEqual(settings_of(message), settings(case), case.name)
