"""ext_authz: what it asks, and what comes of the answers."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from cryptography import x509
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse

from tcpmesh.net.tls.context import TlsContext
from tcpmesh.testing.tls import certificate, settings
from tests.extensions.filters.network.asked import AskedTestCase
from tests.extensions.filters.network.filtered import (
    WHY,
    listener_filter,
    network_filter,
    tcp_proxy,
)
from tests.extensions.transport_sockets.tls.test_tls import issued, socket, trusting
from tests.listener.test_sni_router import hello

LOG = f"{WHY} %DYNAMIC_METADATA(envoy.filters.network.ext_authz)%"
DENIED = "UAEX ext_authz_denied - ext_authz_close"
FAILED = "UAEX ext_authz_error - ext_authz_close"
OK, NO = 0, 7


def answer(code: int = OK, **metadata: Any) -> CheckResponse:
    """An answer with dynamic metadata."""
    made = CheckResponse()
    made.status.code = code
    if metadata:
        made.dynamic_metadata.update(metadata)
    return made


def ext_authz(timeout: str = "2s", **fields: Any) -> dict[str, Any]:
    """The filter."""
    service = {"envoy_grpc": {"cluster_name": "s"}, "timeout": timeout}
    return network_filter(
        "ext_authz.v3.ExtAuthz", **{"stat_prefix": "p", "grpc_service": service, **fields}
    )


class AuthzTestCase(AskedTestCase):
    """A proxy with the filter."""

    question = CheckRequest

    def begin(self, chain: Any = None, listener: Any = None, node: Any = None, **f: Any) -> None:
        """Serve."""
        more = {"node": node} if node else {}
        self.serve_asking(ext_authz(**f), tcp_proxy(LOG), chain=chain, listener=listener, **more)

    def counted(self) -> dict[str, int]:
        """What the filter has counted."""
        return self.mesh.moved("ext_authz.p.")


class AnswerTests(AuthzTestCase):
    """What becomes of a client."""

    def test_names(self) -> None:
        """All statistics are there from the start."""
        self.begin()
        names = "total error denied disabled failure_mode_allowed ok cx_closed active"
        self.assertEqual(set(names.split()), set(self.mesh.stats("ext_authz.p.")))

    def test_first_byte(self) -> None:
        """The service is asked with the first byte and never again; until it answers what the
        client sends waits, and what its upstream says passes.
        """
        self.begin()
        client = self.connect()
        self.host.built[0].transport.write(b"hello")
        self.mesh.pump()
        self.assertEqual((b"hello", []), (client.received, self.calls))
        self.say(client, b"one")
        self.say(client, b"two")
        self.assertEqual((b"", 1), (self.host.built[0].received, len(self.calls)))
        self.assertEqual({"total": 1, "active": 1}, self.counted())
        self.always(answer())
        self.answer_late()
        self.say(client, b"three")
        self.assertEqual(b"onetwothree", self.host.built[0].received)
        self.assertEqual({"total": 1, "ok": 1}, self.counted())

    def test_end_of_stream(self) -> None:
        """A client that only ends its stream is asked about; the end waits for the answer too."""
        self.begin()
        client = self.connect()
        client.transport.loseWriteConnection()
        self.mesh.pump()
        self.assertEqual((1, False), (len(self.calls), self.host.built[0].ended))
        self.always(answer())
        self.answer_late()
        self.assertTrue(self.host.built[0].ended)

    def test_denied(self) -> None:
        """A client that is denied is closed, and what it sent goes nowhere; any status but OK
        denies, whatever is allowed where the service fails.
        """
        for code in (NO, 99):
            self.begin(failure_mode_allow=True)
            self.always(answer(code, k="v"))
            self.assertTrue(self.say(self.connect()).ended)
            self.assertEqual({"total": 1, "denied": 1, "cx_closed": 1}, self.counted())
            self.end_hosts()
            self.assertEqual(b"", self.host.built[0].received)
            self.assertEqual([DENIED + ' {"k":"v"}'], self.logged())

    def test_metadata(self) -> None:
        """What the service says of a client whom it lets in is in the dynamic metadata, with the
        milliseconds that it took.
        """
        self.begin()
        client = self.say(self.connect())
        self.mesh.advance(0.25)
        self.always(answer(k="v", n=1.5))
        self.answer_late()
        self.leave(client)
        told = '{"ext_authz_duration":250,"k":"v","n":1.5}'
        self.assertEqual([f"- - - - {told}"], self.logged())

    def test_metadata_of_old_times(self) -> None:
        """A service that still has it in `ok_response` is understood."""
        self.begin()
        old = answer()
        old.ok_response.dynamic_metadata.update({"o": "p"})
        self.always(old)
        self.leave(self.say(self.connect()))
        self.assertEqual(['- - - - {"ext_authz_duration":0,"o":"p"}'], self.logged())

    def test_error_response(self) -> None:
        """A service may say of itself that it has failed."""
        self.begin()
        error = answer(13)
        error.error_response.body = "no"
        self.always(error)
        self.assertTrue(self.say(self.connect()).ended)
        self.assertEqual({"total": 1, "error": 1, "cx_closed": 1}, self.counted())
        self.end_hosts()
        self.assertEqual([f"{FAILED} -"], self.logged())

    def test_shadow(self) -> None:
        """With `shadow_mode` nobody is closed, and all is counted."""
        for code, name in ((NO, "denied"), (OK, "ok")):
            self.begin(shadow_mode=True)
            self.always(answer(code))
            self.assertFalse(self.say(self.connect()).ended)
            self.assertEqual({"total": 1, name: 1}, self.counted())
        self.begin(shadow_mode=True)
        self.reply = self.refuse
        self.assertFalse(self.say(self.connect()).ended)
        self.assertEqual({"total": 1, "error": 1}, self.counted())

    def test_enabled_by_metadata(self) -> None:
        """Where `filter_enabled_metadata` does not match nobody is asked, which is counted with
        everything that a client sends.
        """
        matcher = {"filter": "f", "path": [{"key": "k"}], "value": {"bool_match": True}}
        self.begin(filter_enabled_metadata=matcher)
        client = self.connect()
        self.say(client)
        self.say(client)
        self.assertEqual(b"xx", self.host.built[0].received)
        self.assertEqual(({"disabled": 2}, []), (self.counted(), self.calls))
        self.begin(filter_enabled_metadata={**matcher, "invert": True})
        self.say(self.connect())
        self.assertEqual({"total": 1, "active": 1}, self.counted())


class FailureTests(AuthzTestCase):
    """A service that does not answer, or not as it should."""

    def outcome(self, **fields: Any) -> list[dict[str, int]]:
        """What is counted without and with `failure_mode_allow`."""
        found = []
        for allow in (False, True):
            reply = self.reply if hasattr(self, "reply") else None
            self.begin(failure_mode_allow=allow, **fields)
            if reply is not None:
                self.reply = reply
            client = self.say(self.connect())
            self.mesh.advance(3)
            self.assertIs(not allow, client.ended)
            self.assertEqual(b"x" if allow else b"", self.host.built[0].received)
            found.append(self.counted())
            self.end_hosts()
        return found

    def assert_failure(self, **fields: Any) -> None:
        """Assert that it counts as one."""
        closed = {"total": 1, "error": 1, "cx_closed": 1}
        allowed = {"total": 1, "error": 1, "failure_mode_allowed": 1}
        self.assertEqual([closed, allowed], self.outcome(**fields))

    def test_error(self) -> None:
        """It answers with an error."""
        self.reply = self.refuse
        self.assert_failure()

    def test_slow(self) -> None:
        """It does not answer within the time."""
        self.assert_failure()

    def test_no_time(self) -> None:
        """With a timeout of 0 there is no time to answer, as in Envoy."""
        self.assert_failure(timeout="0s")

    def test_default_timeout(self) -> None:
        """It has 200 ms where nothing is said."""
        self.begin(grpc_service={"envoy_grpc": {"cluster_name": "s"}})
        client = self.say(self.connect())
        self.mesh.advance(0.19)
        self.assertFalse(client.ended)
        self.mesh.advance(0.02)
        self.assertTrue(client.ended)

    def test_lying(self) -> None:
        """What it sends is no answer, or two."""

        def garbage(call: Any) -> None:
            call.head()
            call.data(b"\0\0\0\0\3abc")
            call.end()

        def twice(call: Any) -> None:
            call.head()
            call.data(b"\0\0\0\0\0" * 2)
            call.end()

        for reply in (garbage, twice, lambda call: call.head(ended=True)):
            self.reply = reply
            self.assert_failure()

    def test_no_cluster(self) -> None:
        """Its cluster is not there, or none is named."""
        self.assert_failure(grpc_service={"envoy_grpc": {"cluster_name": "nope"}})
        plain = network_filter("ext_authz.v3.ExtAuthz", stat_prefix="p")
        self.serve_asking(plain, tcp_proxy(LOG))
        self.assertTrue(self.say(self.connect()).ended)
        self.assertEqual({"total": 1, "error": 1, "cx_closed": 1}, self.counted())

    def test_client_leaves(self) -> None:
        """A client that leaves while it thinks is forgotten, and its answer not heard."""
        self.begin()
        client = self.say(self.connect())
        client.transport.abortConnection()
        self.mesh.pump()
        self.assertEqual({"total": 1}, self.counted())
        self.assertEqual([8], [call.reset for call in self.calls])
        self.mesh.advance(3)
        self.end_hosts()
        self.assertEqual({"total": 1}, self.counted())

    def test_removed_while_it_thinks(self) -> None:
        """A client of a listener that was removed is let in or not as any other, and then the
        statistics go.
        """
        self.begin()
        client = self.say(self.connect())
        self.mesh.listeners.remove("l")
        self.mesh.pump()
        self.assertEqual({"total": 1, "active": 1}, self.counted())
        self.always(answer())
        self.answer_late()
        self.assertEqual(b"x", self.host.built[0].received)
        self.leave(client)
        self.assertEqual({}, self.mesh.stats("ext_authz.p."))


class RequestTests(AuthzTestCase):
    """What the service is told of a client."""

    def attributes(self, first: bytes = b"x", **fields: Any) -> Any:
        """Those of a client that begins so."""
        self.begin(**fields)
        self.say(self.connect(), first)
        return self.asked()[0].attributes

    def test_plain(self) -> None:
        """Where it comes from and goes to, and no more."""
        found = self.attributes(include_peer_certificate=True)
        source, destination = found.source, found.destination
        self.assertEqual("127.0.0.1", source.address.socket_address.address)
        self.assertEqual(1, destination.address.socket_address.port_value)
        self.assertEqual(("", ""), (source.principal, source.certificate))
        self.assertTrue(found.HasField("metadata_context"))
        self.assertFalse(found.HasField("tls_session"))

    def test_labels(self) -> None:
        """Labels come from the node's metadata; what is no text is an empty one."""
        metadata = {"l": {"a": "b", "n": 5}}
        node = {"id": "i", "cluster": "c", "metadata": metadata}
        found = self.attributes(node=node, bootstrap_metadata_labels_key="l")
        self.assertEqual({"a": "b", "n": ""}, dict(found.destination.labels))
        found = self.attributes(node=node, bootstrap_metadata_labels_key="other")
        self.assertEqual({}, dict(found.destination.labels))

    def test_metadata(self) -> None:
        """Dynamic metadata of the namespaces that are named, as far as there is some."""
        inspector = {"listener_filters": [listener_filter("tls_inspector.v3.TlsInspector")]}
        name = "envoy.filters.listener.tls_inspector"
        found = self.attributes(
            b"plain", listener=inspector, metadata_context_namespaces=[name, "other"]
        )
        context = found.metadata_context.filter_metadata
        self.assertEqual([name], list(context))
        self.assertEqual("ClientHelloNotDetected", context[name]["failure_reason"])

    def test_server_name(self) -> None:
        """The name that a client asks for, where it was looked for."""
        inspector = {"listener_filters": [listener_filter("tls_inspector.v3.TlsInspector")]}
        found = self.attributes(hello("A.Test"), listener=inspector, include_tls_session=True)
        self.assertEqual(("a.test", "a.test"), (found.destination.service, found.tls_session.sni))
        self.assertTrue(self.attributes(include_tls_session=True).HasField("tls_session"))

    def test_certificates(self) -> None:
        """Principals are a certificate's first URI, else its first DNS name; the client's
        certificate is there if it is asked for.
        """
        mine = issued("server.test", uris=["spiffe://server"])
        chain = {
            "transport_socket": socket("Downstream", {"tls_certificates": [mine], **trusting()})
        }
        client = settings(certificate("client.test"), server_name="server.test", is_server=False)
        for fields in ({}, {"include_peer_certificate": True}):
            self.begin(chain=chain, **fields)
            self.say(self.tls_client(TlsContext(client)))
            found = self.asked()[0].attributes
            self.assertEqual("client.test", found.source.principal)
            self.assertEqual("spiffe://server", found.destination.principal)
        pem = unquote(found.source.certificate).encode()
        names = x509.load_pem_x509_certificate(pem).subject
        self.assertEqual("CN=client.test", names.rfc4514_string())
