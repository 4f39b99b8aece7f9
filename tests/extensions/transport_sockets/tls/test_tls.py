"""TLS as a configuration has it: towards clients and towards hosts, with counters and access
logs.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.text.problems import ConfigError
from tcpmesh.net.tls.context import TlsContext
from tcpmesh.net.tls.material import read_pair
from tcpmesh.net.tls.names import VERSIONS, parameters
from tcpmesh.net.tls.verifier import ValidationSettings
from tcpmesh.testing.certificates import Authority
from tcpmesh.testing.harness import Client, Server
from tcpmesh.testing.mesh import Mesh, address_of
from tcpmesh.testing.recording import RecordingProtocol
from tcpmesh.testing.tls import TlsMaker, authority, certificate, settings
from tcpmesh.testing.wrappers import WrappingFactory, WrappingNetwork
from tcpmesh.values.address import Address
from tests.net.tls import pki

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
FRONT, HOST = "127.0.0.1:1", "127.0.0.2:80"
PINNED = ValidationSettings(verify_certificate_hash=frozenset([b"x" * 32]))
LISTENER, CLUSTER = "listener.127.0.0.1_1.ssl.", "cluster.c.ssl."


def inline(pem: bytes) -> dict[str, Any]:
    """A `DataSource`."""
    return {"inline_string": pem.decode()}


def issued(name: str, **more: Any) -> dict[str, Any]:
    """A `TlsCertificate` that the authority of all tests has signed."""
    chain, key = authority().issue(name, **more)
    return {"certificate_chain": inline(chain), "private_key": inline(key)}


def socket(kind: str, common: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A `TransportSocket`."""
    config = {"@type": f"{TLS}{kind}TlsContext", "common_tls_context": common, **more}
    return {"name": "tls", "typed_config": config}


def start_tls(kind: str, tls: dict[str, Any]) -> dict[str, Any]:
    """A `TransportSocket` that begins in plain."""
    url = f"type.googleapis.com/envoy.extensions.transport_sockets.starttls.v3.{kind}Config"
    config = {"@type": url, "cleartext_socket_config": {}, "tls_socket_config": tls}
    return {"name": "starttls", "typed_config": config}


def trusting(ca: Authority | None = None) -> dict[str, Any]:
    """A `CommonTlsContext` that trusts an authority."""
    return {"validation_context": {"trusted_ca": inline((ca or authority()).pem)}}


def config(
    down: dict[str, Any] | None = None,
    up: dict[str, Any] | None = None,
    log: str = "",
    host: dict[str, Any] | None = None,
    more: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
    **proxy: Any,
) -> str:
    """A bootstrap with one listener and one cluster.

    :param more: further fields of the cluster.
    :param metadata: of the host, by which transport sockets are matched.
    """
    tcp_proxy = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "t",
        "cluster": "c",
        **proxy,
    }
    if log:
        file = {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": "/log",
            "log_format": {"text_format_source": {"inline_string": log}},
        }
        tcp_proxy["access_log"] = [{"name": "file", "typed_config": file}]
    chain: dict[str, Any] = {"filters": [{"name": "tcp", "typed_config": tcp_proxy}]}
    place = {"socket_address": {"address": "127.0.0.1", "port_value": 1}}
    there = {"socket_address": {"address": "127.0.0.2", "port_value": 80}}
    endpoint: dict[str, Any] = {"endpoint": {"address": there, **(host or {})}}
    if metadata is not None:
        endpoint["metadata"] = {"filter_metadata": {"envoy.transport_socket_match": metadata}}
    cluster: dict[str, Any] = {
        "name": "c",
        "load_assignment": {
            "cluster_name": "c",
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
        **(more or {}),
    }
    for part, found in ((chain, down), (cluster, up)):
        if found is not None:
            part["transport_socket"] = found
    listener = {"name": "l", "address": place, "filter_chains": [chain]}
    return json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}})


class TlsMeshTestCase(SynchronousTestCase):
    """A test of a proxy whose clients and hosts may speak TLS."""

    def serve(self, text: str, host: TlsContext | None = None) -> None:
        """Start the proxy, and a host, which may speak TLS."""
        self.mesh = Mesh(text)
        self.host = Server()
        factory: Any = self.host
        if host is not None:
            maker = TlsMaker(TlsContext(settings()), host)
            factory = WrappingFactory(self.host, self.mesh.network.clock, maker)
        self.mesh.upstream(HOST, factory)

    def client(self, context: TlsContext | None = None) -> Any:
        """A client that speaks TLS."""
        context = context or TlsContext(settings(server_name="server.test"))
        maker = TlsMaker(context, context)
        network: Any = WrappingNetwork(self.mesh.network, maker)
        client = Client(RecordingProtocol())
        address: Address = address_of(FRONT)
        network.connect(address, client, 10.0)
        self.mesh.pump()
        return client.given

    def counted(self, prefix: str) -> dict[str, int]:
        """What has moved, but for the gauges that tell when certificates expire."""
        moved = self.mesh.moved(prefix)
        return {name: n for name, n in moved.items() if not name.startswith("certificate.")}

    def assert_talk(self, client: Any) -> None:
        """Bytes go both ways."""
        client.transport.write(b"question")
        self.mesh.pump()
        self.assertEqual(b"question", self.host.built[-1].received)
        self.host.built[-1].transport.write(b"answer")
        self.mesh.pump()
        self.assertEqual(b"answer", client.received)

    def end(self, client: Any) -> None:
        """The client goes, and its host."""
        client.transport.loseConnection()
        self.mesh.pump()
        for each in self.host.built:
            each.transport.loseConnection()
        self.mesh.pump()


class DownstreamTests(TlsMeshTestCase):
    """TLS towards clients."""

    def test_termination(self) -> None:
        """A client's bytes reach the host in plain, and the handshake is counted."""
        self.serve(config(socket("Downstream", {"tls_certificates": [issued("server.test")]})))
        client = self.client()
        self.assert_talk(client)
        self.end(client)
        self.assertEqual(
            {
                "handshake": 1,
                "no_certificate": 1,
                "versions.TLSv1.3": 1,
                "ciphers.TLS_AES_128_GCM_SHA256": 1,
                "curves.X25519MLKEM768": 1,
            },
            self.counted(LISTENER),
        )
        declared = self.mesh.stats("listener.127.0.0.1_1.server_ssl_socket_factory.")
        self.assertEqual(3, len(declared))

    def test_refused(self) -> None:
        """A client without the certificate that is required, or with one that is not trusted, is
        counted as that, and its record has the reason, and who it was.
        """
        common = {"tls_certificates": [issued("server.test")], **trusting()}
        down = socket("Downstream", common, require_client_certificate=True)
        self.serve(
            config(down, log="%DOWNSTREAM_TRANSPORT_FAILURE_REASON% %DOWNSTREAM_PEER_SUBJECT%\n")
        )
        self.client()
        self.assertEqual({"fail_verify_no_cert": 1}, self.counted(LISTENER))
        [record] = self.mesh.logged("/log")
        self.assertIn("PEER_DID_NOT_RETURN_A_CERTIFICATE", record)
        self.assertTrue(record.endswith(" -\n"))
        foreign = settings(read_pair(*Authority("another").issue("client.test")), is_server=False)
        self.client(TlsContext(foreign))
        self.assertEqual({"fail_verify_no_cert": 1, "fail_verify_error": 1}, self.counted(LISTENER))
        self.assertIn("CERTIFICATE_VERIFY_FAILED", self.mesh.logged("/log")[1])
        self.assertTrue(self.mesh.logged("/log")[1].endswith(" CN=client.test\n"))

    def test_no_tls(self) -> None:
        """A client that does not speak TLS is a connection error."""
        self.serve(config(socket("Downstream", {"tls_certificates": [issued("server.test")]})))
        client = self.mesh.connect(FRONT)
        client.transport.write(b"hello, world\r\n")
        self.mesh.pump()
        self.assertEqual({"connection_error": 1}, self.counted(LISTENER))

    def test_records(self) -> None:
        """The record of a client has what was agreed on, and both certificates."""
        common = {"tls_certificates": [issued("server.test")], **trusting()}
        names = """
            TLS_VERSION TLS_CIPHER TLS_GROUP TLS_SESSION_ID LOCAL_SUBJECT LOCAL_DNS_SAN PEER_SUBJECT
            PEER_ISSUER PEER_DNS_SAN PEER_URI_SAN PEER_IP_SAN PEER_EMAIL_SAN
            TRANSPORT_FAILURE_REASON
            """
        log = "|".join(f"%DOWNSTREAM_{each}%" for each in names.split())
        self.serve(config(socket("Downstream", common), log=f"{log}\n"))
        pair = authority().issue("client.test", uris=["spiffe://a/b"], ips=["10.0.0.1"])
        client = self.client(TlsContext(settings(read_pair(*pair), is_server=False)))
        self.assert_talk(client)
        self.end(client)
        self.assertEqual(
            [
                "TLSv1.3|TLS_AES_128_GCM_SHA256|X25519MLKEM768|-|CN=server.test|server.test|"
                "CN=client.test|CN=test authority|client.test|spiffe://a/b|10.0.0.1|-|-\n"
            ],
            self.mesh.logged("/log"),
        )

    def test_resumption(self) -> None:
        """A resumed session is counted, with its handshake."""
        self.serve(config(socket("Downstream", {"tls_certificates": [issued("server.test")]})))
        context = TlsContext(settings(server_name="server.test"))
        for _ in range(2):
            client = self.client(context)
            self.assert_talk(client)
            self.end(client)
        moved = self.counted(LISTENER)
        self.assertEqual((2, 1), (moved["handshake"], moved["session_reused"]))

    def test_failed_records(self) -> None:
        """The record of a client whose handshake fails has what was agreed on until then, and a
        reset in it is a reason too; one that just leaves has none.
        """
        common = {"tls_certificates": [issued("server.test")], **trusting()}
        down = socket("Downstream", common, require_client_certificate=True)
        log = (
            "%DOWNSTREAM_TLS_VERSION%|%DOWNSTREAM_TLS_CIPHER%|%DOWNSTREAM_LOCAL_SUBJECT%|"
            "%DOWNSTREAM_TRANSPORT_FAILURE_REASON%\n"
        )
        self.serve(config(down, log=log))
        self.client()
        for end in ("abortConnection", "loseConnection"):
            client = self.mesh.connect(FRONT)
            client.transport.write(b"\x16\x03\x01")
            self.mesh.pump()
            getattr(client.transport, end)()
            self.mesh.pump()
        agreed, reset, left = self.mesh.logged("/log")
        self.assertTrue(agreed.startswith("TLSv1.3|TLS_AES_128_GCM_SHA256|CN=server.test|TLS_err"))
        self.assertEqual(
            "TLSv1.2|-|CN=server.test|TLS_error:|33554536:system_library:OPENSSL_internal:"
            "Connection_reset_by_peer:TLS_error_end\n",
            reset,
        )
        self.assertEqual("TLSv1.2|-|CN=server.test|-\n", left)

    def test_broken_records(self) -> None:
        """The record of a client that resets the connection says so; a record of TLS that is none
        counts twice, as in Envoy, which fails once more to say goodbye.
        """
        down = socket("Downstream", {"tls_certificates": [issued("server.test")]})
        self.serve(config(down, log="%DOWNSTREAM_TRANSPORT_FAILURE_REASON%\n"))
        client = self.client()
        self.assert_talk(client)
        client.transport.abortConnection()
        self.mesh.pump()
        self.assertNotIn("connection_error", self.counted(LISTENER))
        client = self.client()
        self.assert_talk(client)
        client.transport.below.write(b"\x17\x03\x03\0\x20" + bytes(32))
        self.mesh.pump()
        self.assertEqual(2, self.counted(LISTENER)["connection_error"])
        reset, broken = self.mesh.logged("/log")
        self.assertIn("Connection_reset_by_peer", reset)
        self.assertIn("BAD_RECORD_MAC:TLS_error_end|268435650:SSL_routines", broken)

    def test_session_names(self) -> None:
        """A session of TLS 1.2 that the server keeps has a name, which its resumption has too; one
        that the client keeps has none at first.
        """
        for stateless, named in ((False, True), (True, False)):
            down = socket(
                "Downstream",
                {"tls_certificates": [issued("server.test")]},
                disable_stateless_session_resumption=not stateless,
            )
            self.serve(config(down, log="%DOWNSTREAM_TLS_SESSION_ID%\n"))
            context = TlsContext(settings(version=VERSIONS["TLSv1_2"]))
            for _ in range(2):
                client = self.client(context)
                self.assert_talk(client)
                self.end(client)
            first, second = (each.strip() for each in self.mesh.logged("/log"))
            self.assertEqual(64, len(second))
            self.assertEqual(second if named else "-", first)

    def test_connect_after_handshake(self) -> None:
        """ON_DOWNSTREAM_TLS_HANDSHAKE connects to the host once the handshake is over; of a plain
        connection at once.
        """
        mode: dict[str, Any] = {
            "upstream_connect_mode": "ON_DOWNSTREAM_TLS_HANDSHAKE",
            "max_early_data_bytes": 1000,
        }
        down = socket("Downstream", {"tls_certificates": [issued("server.test")]})
        self.serve(config(down, **mode))
        silent = self.mesh.connect(FRONT)
        self.assertEqual([], self.host.built)
        silent.transport.loseConnection()
        self.mesh.pump()
        self.assertEqual([], self.host.built)
        self.assert_talk(self.client())
        self.serve(config(**mode))
        self.mesh.connect(FRONT)
        self.assertEqual(1, len(self.host.built))

    def test_removed(self) -> None:
        """Gauges tell when the certificates of a listener and a cluster expire; of those that are
        removed nothing is left once the last client has gone.
        """
        down = socket("Downstream", {"tls_certificates": [issued("server.test")]})
        up = socket("Upstream", trusting())
        self.serve(config(down, up), TlsContext(settings(certificate())))
        for prefix in (LISTENER, CLUSTER):
            gauges = [each for each in self.mesh.stats(prefix) if each.startswith("certificate.")]
            self.assertEqual(1, len(gauges))
        client = self.client()
        self.assert_talk(client)
        self.mesh.listeners.remove("l")
        self.end(client)
        self.assertEqual({}, self.mesh.stats(LISTENER))
        self.mesh.clusters.remove("c")
        self.assertEqual({}, self.mesh.stats(CLUSTER))


class UpstreamTests(TlsMeshTestCase):
    """TLS towards hosts."""

    def test_origination(self) -> None:
        """The host hears TLS, of at most version 1.2 where nothing is said, and gets the name; the
        handshake is counted, and the record of the client has its facts.
        """
        log = (
            "%UPSTREAM_TLS_VERSION%|%UPSTREAM_TLS_GROUP%|%UPSTREAM_SERVER_NAME%|"
            "%UPSTREAM_PEER_SUBJECT%|%UPSTREAM_PEER_DNS_SAN%|%DOWNSTREAM_TLS_VERSION%\n"
        )
        up = socket("Upstream", trusting(), sni="server.test")
        self.serve(config(up=up, log=log), TlsContext(settings(certificate())))
        client = self.mesh.connect(FRONT)
        self.assert_talk(client)
        self.end(client)
        moved = self.counted(CLUSTER)
        self.assertEqual((1, 1), (moved["handshake"], moved["versions.TLSv1.2"]))
        self.assertEqual(
            ["TLSv1.2|X25519|server.test|CN=server.test|server.test|-\n"],
            self.mesh.logged("/log"),
        )

    def test_untrusted(self) -> None:
        """A host whose certificate does not hold could not be connected to, and the record of the
        client tells why.
        """
        up = socket("Upstream", trusting(Authority("another")), sni="server.test")
        log = "%RESPONSE_FLAGS% %UPSTREAM_TRANSPORT_FAILURE_REASON%\n"
        self.serve(config(up=up, log=log), TlsContext(settings(certificate())))
        self.mesh.connect(FRONT)
        self.assertEqual({"fail_verify_error": 1}, self.counted(CLUSTER))
        self.assertEqual(1, self.mesh.stat("cluster.c.upstream_cx_connect_fail"))
        [record] = self.mesh.logged("/log")
        flags, reason = record.split(" ")
        self.assertEqual("UF,URX", flags)
        self.assertTrue(reason.startswith("TLS_error:|268435581:SSL_routines"), reason)

    def test_refused_by_the_host(self) -> None:
        """A host that demands a certificate and gets none refuses, and the record has its alert: no
        more, for this was not the answer to the first message.
        """
        demanding = settings(
            certificate(), version=VERSIONS["TLSv1_2"], validation=PINNED, require_certificate=True
        )
        log = "%UPSTREAM_TRANSPORT_FAILURE_REASON%\n"
        self.serve(config(up=socket("Upstream", {}), log=log), TlsContext(demanding))
        self.mesh.connect(FRONT)
        [record] = self.mesh.logged("/log")
        self.assertIn("SSLV3_ALERT_HANDSHAKE_FAILURE:TLS_error_end", record)

    def test_key_usage(self) -> None:
        """A host's key is used for what its certificate allows: to sign, or with the key exchange
        of RSA to encipher; else the handshake fails, and counts as an error.
        """
        for cipher, usage, fits in (
            ("AES128-GCM-SHA256", "key_encipherment", True),
            ("AES128-GCM-SHA256", "digital_signature", False),
            ("ECDHE-RSA-AES128-GCM-SHA256", "key_encipherment", False),
        ):
            issued = pki.authority("x").issue(key=pki.rsa_key(), usage=pki.key_usage(usage))
            own = read_pair(issued.pem.encode(), issued.key_pem().encode())
            speaking = parameters(is_server=True, cipher_suites=[cipher])
            host = TlsContext(replace(settings(own), parameters=speaking))
            common = {"tls_params": {"cipher_suites": [cipher]}}
            self.serve(config(up=socket("Upstream", common)), host)
            self.mesh.connect(FRONT)
            moved = self.counted(CLUSTER)
            found = moved.get("handshake", 0), moved.get("connection_error", 0)
            self.assertEqual((int(fits), int(not fits)), found)

    def test_connect_timeout(self) -> None:
        """connect_timeout is for the handshake too."""
        self.serve(config(up=socket("Upstream", {})))
        client = self.mesh.connect(FRONT)
        self.assertEqual(1, len(self.host.built))
        self.mesh.advance(5.1)
        self.assertTrue(client.ended)
        self.assertEqual(1, self.mesh.stat("cluster.c.upstream_cx_connect_timeout"))

    def test_hosts_own_name(self) -> None:
        """auto_host_sni asks the host for its own name, for which its certificate then has to be
        with auto_sni_san_validation.
        """
        for name, fits in (("server.test", True), ("other.test", False)):
            up = socket("Upstream", trusting(), auto_host_sni=True, auto_sni_san_validation=True)
            text = config(up=up, host={"hostname": name})
            self.serve(text, TlsContext(settings(certificate())))
            client = self.mesh.connect(FRONT)
            self.assertEqual(not fits, client.ended)
            expected = "handshake" if fits else "fail_verify_san"
            self.assertEqual(1, self.mesh.stat(f"{CLUSTER}{expected}"))

    def test_resumption(self) -> None:
        """The second connection to a host resumes the session of the first, unless none are
        kept.
        """
        for kept, reused in ((None, 1), (0, 0)):
            more = {} if kept is None else {"max_session_keys": kept}
            self.serve(
                config(up=socket("Upstream", {}, **more)), TlsContext(settings(certificate()))
            )
            for _ in range(2):
                client = self.mesh.connect(FRONT)
                self.assert_talk(client)
                self.end(client)
            self.assertEqual(reused, self.mesh.stat(f"{CLUSTER}session_reused"))

    def test_both_sides(self) -> None:
        """Both sides may speak TLS, and half-closes go through."""
        down = socket("Downstream", {"tls_certificates": [issued("server.test")]})
        up = socket("Upstream", trusting(), sni="server.test")
        self.serve(config(down, up), TlsContext(settings(certificate())))
        client = self.client()
        client.transport.write(b"question")
        client.transport.loseWriteConnection()
        self.mesh.pump()
        host = self.host.built[0]
        self.assertEqual((b"question", True), (host.received, host.ended))
        host.transport.write(b"answer")
        host.transport.loseConnection()
        self.mesh.pump()
        self.assertEqual(b"answer", client.received)
        self.assertEqual("eof", client.events[-1])

    def test_matches(self) -> None:
        """A host gets the transport socket of the first match that its metadata fits, and else that
        of the cluster.
        """
        matches = [
            {
                "name": "tls",
                "match": {"speaks": "tls"},
                "transport_socket": socket("Upstream", {}),
            },
        ]
        for metadata, speaks_tls in (
            ({"speaks": "tls", "more": 1}, True),
            ({"speaks": "plain"}, False),
            (None, False),
        ):
            text = config(more={"transport_socket_matches": matches}, metadata=metadata)
            self.serve(text, TlsContext(settings(certificate())) if speaks_tls else None)
            client = self.mesh.connect(FRONT)
            self.assert_talk(client)
            name = "tls" if speaks_tls else "default"
            self.assertEqual(1, self.mesh.stat(f"cluster.c.{name}.total_match_count"))
            self.assertEqual(int(speaks_tls), self.mesh.stat("cluster.c.tls.total_match_count"))

    def test_health_checks(self) -> None:
        """A health check speaks TLS where the cluster does, with application protocols of its own
        and the transport socket that its own criteria match.
        """
        check = {
            "timeout": "1s",
            "interval": "1s",
            "unhealthy_threshold": 1,
            "healthy_threshold": 1,
            "tcp_health_check": {},
        }
        matches = [{"name": "tls", "match": {"a": "b"}, "transport_socket": socket("Upstream", {})}]
        alpn = {"tls_options": {"alpn_protocols": ["check"]}}
        criteria = {"transport_socket_match_criteria": {"a": "b"}}
        for more, up in (
            ({"health_checks": [{**check, **alpn}]}, socket("Upstream", {})),
            (
                {
                    "health_checks": [{**check, **alpn, **criteria}],
                    "transport_socket_matches": matches,
                },
                None,
            ),
        ):
            server = TlsContext(settings(certificate(), application_protocols=("check",)))
            seen: list[str] = []
            chosen = server.select_protocol

            def select(offered: Any, seen: Any = seen, chosen: Any = chosen) -> Any:
                seen.extend(each.decode() for each in offered)
                return chosen(offered)

            server.select_protocol = select  # type: ignore[method-assign]
            self.serve(config(up=up, more=more), server)
            self.mesh.advance(3.0)
            self.assertEqual({"check"}, set(seen))
            self.assertLess(0, self.mesh.stat("cluster.c.health_check.success"))
            self.assertLess(0, self.mesh.stat(f"{CLUSTER}handshake"))

    def test_start_tls(self) -> None:
        """starttls stays with plain bytes on both sides, for no filter asks for TLS; what is wrong
        with its TLS is an error all the same.
        """
        for good in (True, False):
            certificates = [issued("server.test")] if good else []
            down = start_tls("StartTls", {"common_tls_context": {"tls_certificates": certificates}})
            text = config(down, start_tls("UpstreamStartTls", {"common_tls_context": {}}))
            if not good:
                self.assertRaises(ConfigError, Mesh, text)
                continue
            self.serve(text)
            self.assert_talk(self.mesh.connect(FRONT))
