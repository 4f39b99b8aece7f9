"""TLS between two memory transports: what is heard, what is refused, and what is on the wire."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from OpenSSL import SSL
from OpenSSL._util import lib

from twisted.internet.error import ConnectionDone
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.connection.tls.pace import HandshakePace
from tcpmesh.connection.tls.transport import TlsTransport
from tcpmesh.connection.wrapped.states import TransportSocketError
from tcpmesh.net.tls.context import TlsContext
from tcpmesh.net.tls.material import read_authorities, read_pair
from tcpmesh.net.tls.names import VERSIONS
from tcpmesh.net.tls.openssl import callbacks
from tcpmesh.net.tls.settings import Resumption
from tcpmesh.net.tls.subject_names import NameKind, NameMatcher
from tcpmesh.net.tls.verifier import ValidationSettings
from tcpmesh.testing.certificates import Authority
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.testing.recording import RecordingProtocol
from tcpmesh.testing.tls import RecordingWatcher, authority, certificate, settings
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import HostSpec
from tcpmesh.values.stream.transport_socket_options import NO_OPTIONS, TransportSocketOptions
from tests.connection.wrapped.wrapping import HERE, THERE, Observer

BOTH = (VERSIONS["TLSv1_2"], VERSIONS["TLSv1_3"])


def trusting(ca: Authority | None = None, **more: Any) -> ValidationSettings:
    """Settings that trust an authority, that of all tests if none is given."""
    found = read_authorities((ca or authority()).pem)
    return ValidationSettings(trusted_ca=found.certificates, **more)


class End:
    """One side: its transport, and what stands above it."""

    def __init__(self, network: MemoryNetwork, context: TlsContext, options: Any) -> None:
        self.above = RecordingProtocol()
        self.observer = Observer(self.above)
        self.watcher = RecordingWatcher()
        self.transport = TlsTransport(network.clock, context, self.observer, self.watcher)
        if not context.is_server:
            self.transport.wanted = context.wanted(options)


class OneStep(HandshakePace):
    """Has time for one step, and none after it."""

    def __init__(self, network: MemoryNetwork) -> None:
        super().__init__(network)
        self.later: list[Callable[[], object]] = []
        self._is_over = False

    def take(self, step: Callable[..., object], *arguments: object) -> bool:
        """The first is taken."""
        if self._is_over:
            return False
        self._is_over = True
        step(*arguments)
        return True

    def take_later(self, step: Callable[[], object]) -> None:
        """Others wait until a test calls them."""
        self.later.append(step)


class TlsTestCase(SynchronousTestCase):
    """A test of two sides."""

    def setUp(self) -> None:
        """A network."""
        self.network = MemoryNetwork()

    def connect(
        self,
        client: TlsContext,
        server: TlsContext,
        options: TransportSocketOptions = NO_OPTIONS,
        chunk: int = 65536,
    ) -> tuple[End, End]:
        """Two sides that have shaken hands, or have tried to."""
        near, far = self.network.pair(HERE, THERE)
        ends = End(self.network, client, options), End(self.network, server, options)
        for transport, end in ((far, ends[1]), (near, ends[0])):
            transport.read_size = chunk
            transport.start(end.transport)
        self.network.pump()
        return ends

    def assert_talk(self, client: End, server: End) -> None:
        """Bytes go both ways."""
        client.transport.write(b"question")
        server.transport.write(b"answer")
        self.network.pump()
        self.assertEqual((b"question", b"answer"), (server.above.received, client.above.received))


class HandshakeTests(TlsTestCase):
    """What the two sides agree on."""

    def test_facts(self) -> None:
        """Both sides know version, cipher, group, protocol and name, and the client the
        certificate.
        """
        for version, name in zip(BOTH, ("TLSv1.2", "TLSv1.3"), strict=True):
            more: Any = {"version": version, "application_protocols": ("b", "a")}
            server = TlsContext(settings(certificate(), **more))
            more["application_protocols"] = ("a", "b")
            client, served = self.connect(
                TlsContext(settings(server_name="server.test", **more)), server
            )
            self.assert_talk(client, served)
            for end in (client, served):
                facts = end.transport.engine
                self.assertEqual(name, facts.version)
                self.assertEqual("b", facts.protocol)
                self.assertEqual("server.test", facts.server_name)
                self.assertIn("AES", facts.cipher)
                self.assertEqual("X25519MLKEM768" if "1.3" in name else "x25519", facts.group)
                self.assertFalse(facts.reused)
            self.assertEqual(certificate().chain, client.transport.engine.peer_chain)
            self.assertEqual((), served.transport.engine.peer_chain)
            self.assertEqual(certificate().chain[0], served.transport.engine.local_certificate)

    def test_byte_by_byte(self) -> None:
        """A handshake, and records, that come in pieces of one byte are what they are in one."""
        for version in BOTH:
            ends = self.connect(
                TlsContext(settings(version=version)),
                TlsContext(settings(certificate(), version=version)),
                chunk=1,
            )
            self.assert_talk(*ends)

    def test_no_overlap_of_protocols(self) -> None:
        """Where the two have no application protocol in common, none is used."""
        client, served = self.connect(
            TlsContext(settings(application_protocols=("x",))),
            TlsContext(settings(certificate(), application_protocols=("y",))),
        )
        self.assert_talk(client, served)
        self.assertEqual("", client.transport.engine.protocol)

    def test_certificate_by_name(self) -> None:
        """A client gets the certificate for the name it asks for, of whatever case, or that of a
        wildcard; else the first, and with a full scan too.
        """
        own, wild = certificate(), certificate("*.wild.test")
        server = TlsContext(settings(own, wild))
        for name, expected in (
            ("server.test", own),
            ("A.Wild.Test", wild),
            ("b.a.wild.test", own),
            ("unknown.test", own),
            ("", own),
        ):
            client, _ = self.connect(TlsContext(settings(server_name=name)), server)
            self.assertEqual(expected.chain, client.transport.engine.peer_chain, name)

    def test_odd_names(self) -> None:
        """A server is asked for whatever name is to be had, of which a client may have made it up;
        one that is too long for TLS is a failed handshake.
        """
        server = TlsContext(settings(certificate()))
        for name in ("a" * 64 + ".x", "..", "b\xfccher.test", "\udcff", "a b", "a\0b", "a" * 255):
            client, served = self.connect(TlsContext(settings(server_name=name)), server)
            self.assert_talk(client, served)
        for name in ("a" * 256, "\0a"):
            client, _ = self.connect(TlsContext(settings(server_name=name)), server)
            self.assertEqual(["failed"], client.observer.told)

    def test_hosts_own_name(self) -> None:
        """A host is asked for the name of its cluster, for its own where that is said, and before
        both for the one that a filter names.
        """
        server = TlsContext(settings(certificate()))
        host = TransportSocketOptions(host=HostSpec(Address("127.0.0.1", 1), "host.test"))
        named = replace(host, server_name="filter.test")
        for own, options, expected in (
            (False, host, "static.test"),
            (True, host, "host.test"),
            (True, NO_OPTIONS, "static.test"),
            (True, named, "filter.test"),
        ):
            client = TlsContext(settings(server_name="static.test", host_name_as_server_name=own))
            _, served = self.connect(client, server, options)
            self.assertEqual(expected, served.transport.engine.server_name)

    def test_protocols_of_a_filter(self) -> None:
        """A filter's application protocols take the place of the cluster's."""
        server = TlsContext(settings(certificate(), application_protocols=("a", "b")))
        client = TlsContext(settings(application_protocols=("a",)))
        options = TransportSocketOptions(application_protocols=("b",))
        _, served = self.connect(client, server, options)
        self.assertEqual("b", served.transport.engine.protocol)

    def test_protocols_of_last_resort(self) -> None:
        """Protocols that go with what is spoken are offered where nothing else says so."""
        server = TlsContext(settings(certificate(), application_protocols=("a", "h2")))
        options = TransportSocketOptions(fallback_protocols=("h2",))
        for own, expected in (((), "h2"), (("a",), "a")):
            client = TlsContext(settings(application_protocols=own))
            _, served = self.connect(client, server, options)
            self.assertEqual(expected, served.transport.engine.protocol)


class VerdictTests(TlsTestCase):
    """Nobody is heard before there is a verdict."""

    def test_trusted_client(self) -> None:
        """A client with a trusted certificate is heard, and its chain is known."""
        server = TlsContext(settings(certificate(), validation=trusting()))
        for version in BOTH:
            own = certificate("client.test")
            client = TlsContext(settings(own, version=version, is_server=False))
            ends = self.connect(client, server)
            self.assert_talk(*ends)
            self.assertEqual(own.chain, ends[1].transport.engine.peer_chain)
            verdict = ends[1].transport.verdict
            self.assertTrue(verdict is not None and verdict.validated)

    def test_refused_client(self) -> None:
        """A client of another authority is refused in the handshake: not a byte of it is heard, and
        it gets the alert.
        """
        server = TlsContext(
            settings(certificate(), validation=trusting(Authority("another")), is_server=True)
        )
        for version in BOTH:
            own = certificate("client.test")
            client, served = self.connect(
                TlsContext(settings(own, version=version, is_server=False)), server
            )
            client.transport.write(b"unheard")
            self.network.pump()
            self.assertEqual((b"", ["failed"]), (served.above.received, served.observer.told))
            self.assertIn("unknown ca", str(client.watcher.failures[0]))

    def test_missing_certificate(self) -> None:
        """A client without a certificate is refused where one is required, and else is heard."""
        for required in (True, False):
            server = TlsContext(
                settings(certificate(), validation=trusting(), require_certificate=required)
            )
            client, served = self.connect(TlsContext(settings()), server)
            client.transport.write(b"x")
            self.network.pump()
            self.assertEqual(b"" if required else b"x", served.above.received)

    def test_pinned_certificate(self) -> None:
        """A client without a certificate is refused where only one certificate or its names will
        do, though none is required in so many words, as in Envoy.
        """
        pinned = ValidationSettings(verify_certificate_hash=frozenset([b"x" * 32]))
        named = trusting(san_matchers=(NameMatcher(NameKind.DNS, "exact", "client.test"),))
        for demands in (pinned, named):
            server = TlsContext(settings(certificate(), validation=demands))
            client, served = self.connect(TlsContext(settings()), server)
            client.transport.write(b"x")
            self.network.pump()
            self.assertEqual((["failed"], b""), (served.observer.told, served.above.received))

    def test_required_for_nothing(self) -> None:
        """Where a certificate is required, and there is nothing to hold it against, no client is
        asked for one, as in Envoy.
        """
        server = TlsContext(settings(certificate(), require_certificate=True))
        client, served = self.connect(TlsContext(settings()), server)
        client.transport.write(b"x")
        self.network.pump()
        self.assertEqual(b"x", served.above.received)

    def test_host(self) -> None:
        """A host has to be the one that was asked for where that is demanded, and have a name that
        a filter demands.
        """
        server = TlsContext(settings(certificate()))
        for name, names, fits in (
            ("server.test", (), True),
            ("other.test", (), False),
            ("server.test", ("server.test",), True),
            ("server.test", ("more.test",), False),
        ):
            context = TlsContext(
                settings(validation=trusting(), server_name=name, expect_server_name=True)
            )
            options = TransportSocketOptions(subject_names=names)
            client, _ = self.connect(context, server, options)
            self.assertEqual(["done"] if fits else ["failed"], client.observer.told, (name, names))

    def test_verifier_knows_the_version(self) -> None:
        """Who judges a certificate is told whether this is TLS 1.3."""
        server = TlsContext(settings(certificate(), validation=trusting()))
        verify, told = server._verifier.verify, []

        def noted(*args: Any, **more: Any) -> Any:
            told.append(more["is_1_3"])
            return verify(*args, **more)

        self.patch(server._verifier, "verify", noted)
        for version in BOTH:
            own = certificate("client.test")
            self.connect(TlsContext(settings(own, version=version, is_server=False)), server)
        self.assertEqual([False, True], told)

    def test_verifier_that_fails(self) -> None:
        """An exception while a certificate is judged refuses, and is logged."""
        server = TlsContext(settings(certificate(), validation=trusting()))

        def fail(*args: object, **more: object) -> None:
            raise ZeroDivisionError

        self.patch(server._verifier, "verify", fail)
        for version in BOTH:
            own = certificate("client.test")
            client = TlsContext(settings(own, version=version, is_server=False))
            _, served = self.connect(client, server)
            self.assertEqual(["failed"], served.observer.told)
            self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_callbacks_that_fail(self) -> None:
        """An exception in any other callback refuses, too."""

        def fail(*args: object) -> None:
            raise ZeroDivisionError

        for name in ("select_protocol", "select_context"):
            own = certificate(), certificate("x.test")
            server = TlsContext(settings(*own, application_protocols=("a",)))
            setattr(server, name, fail)
            client = TlsContext(settings(application_protocols=("a",), server_name="x.test"))
            _, served = self.connect(client, server)
            self.assertEqual(["failed"], served.observer.told)
            self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_result_of_openssl_is_not_trusted(self) -> None:
        """A handshake that OpenSSL takes for good, of a client that nobody has judged, fails."""
        server = TlsContext(settings(certificate(), validation=trusting()))
        own = certificate("client.test")

        def nobody_asked(engine: Any, chain: Any) -> int:
            return 0

        self.patch(server, "verify", nobody_asked)
        server.is_verified = lambda engine: False  # type: ignore[method-assign]
        _, served = self.connect(TlsContext(settings(own, is_server=False)), server)
        self.assertEqual(["failed"], served.observer.told)
        self.assertEqual(b"", served.above.received)


class ResumptionTests(TlsTestCase):
    """Sessions that are resumed."""

    def test_client_keeps_sessions(self) -> None:
        """A second connection resumes the session of the first, without a further verdict, and is
        as well known.
        """
        for version in BOTH:
            server = TlsContext(settings(certificate(), version=version))
            client = TlsContext(
                settings(version=version, validation=trusting(), server_name="server.test")
            )
            for reused in (False, True, True):
                ends = self.connect(client, server)
                self.assert_talk(*ends)
                self.assertEqual(reused, ends[0].transport.engine.reused)
                self.assertEqual(certificate().chain[0], ends[0].transport.engine.peer_chain[0])
                ends[0].transport.loseConnection()
                self.network.pump()

    def test_other_demands(self) -> None:
        """A session is not resumed by a connection that asks for another name, or demands other
        names of the certificate.
        """
        server = TlsContext(settings(certificate(), version=BOTH[0]))
        client = TlsContext(settings(version=BOTH[0], validation=trusting()))
        for options, told in (
            (TransportSocketOptions(server_name="a.test"), "done"),
            (TransportSocketOptions(server_name="b.test"), "done"),
            (TransportSocketOptions(server_name="a.test", subject_names=("b.test",)), "failed"),
        ):
            near, _ = self.connect(client, server, options)
            self.assertEqual([told], near.observer.told)
            if told == "done":
                self.assertFalse(near.transport.engine.reused)

    def test_no_sessions(self) -> None:
        """A client that keeps none resumes none, and a server that gives none is not resumed
        with.
        """
        none = Resumption(by_ticket=False, by_id=False)
        for version in BOTH:
            for kept, how in ((0, Resumption()), (1, none)):
                server = TlsContext(settings(certificate(), version=version, resumption=how))
                client = TlsContext(settings(version=version, sessions_kept=kept))
                for _ in range(2):
                    ends = self.connect(client, server)
                    self.assert_talk(*ends)
                    self.assertFalse(ends[0].transport.engine.reused)

    def test_no_tickets(self) -> None:
        """Without tickets sessions of TLS 1.2 are resumed by name, and those of TLS 1.3 are not,
        even by a client that could speak both; a first message in pieces is taken for one of 1.3.
        """
        server = TlsContext(settings(certificate(), resumption=Resumption(by_ticket=False)))
        for version, chunk, resumes in (
            (BOTH[0], 65536, True),
            (BOTH[1], 65536, False),
            (0, 5, False),
        ):
            client = TlsContext(settings(version=version))
            for expected in (False, resumes):
                ends = self.connect(client, server, chunk=chunk)
                self.assert_talk(*ends)
                self.assertEqual(expected, ends[0].transport.engine.reused)

    def test_verdict_on_a_resumed_client(self) -> None:
        """A client that resumes a session is heard because of the verdict on that session, which
        holds under the same demands alone.
        """
        own = certificate("client.test")
        for version in BOTH:
            client = TlsContext(settings(own, version=version, is_server=False))
            demands = settings(certificate(), version=version, validation=trusting())
            server = TlsContext(demands)
            for reused in (False, True):
                ends = self.connect(client, server)
                self.assert_talk(*ends)
                self.assertEqual(reused, ends[1].transport.engine.reused)
                self.assertEqual(own.chain[0], ends[1].transport.engine.peer_chain[0])
            others = TlsContext(
                settings(certificate(), version=version, validation=trusting(Authority("another")))
            )
            _, served = self.connect(client, others)
            self.assertEqual(["failed"], served.observer.told)


class WireTests(TlsTestCase):
    """What goes over the wire, and what comes that should not."""

    def plain_peer(self) -> tuple[End, Any]:
        """A server, and the transport of a peer that may say anything."""
        near, far = self.network.pair(HERE, THERE)
        end = End(self.network, TlsContext(settings(certificate())), NO_OPTIONS)
        self.peer = RecordingProtocol()
        near.start(self.peer)
        far.start(end.transport)
        self.network.pump()
        return end, near

    def test_no_tls(self) -> None:
        """A peer that does not speak TLS is closed; nothing of it is heard."""
        for said in (b"GET / HTTP/1.1\r\n\r\n", b"hello, world\r\n", bytes(100)):
            end, peer = self.plain_peer()
            peer.write(said)
            self.network.pump()
            self.assertEqual(["failed"], end.observer.told)
            self.assertEqual(b"", end.above.received)
            self.assertEqual(1, len(end.watcher.failures))
            self.assertTrue(self.peer.ended)

    def test_fin_in_the_handshake(self) -> None:
        """A peer that leaves in the handshake has failed, without an error of TLS."""
        end, peer = self.plain_peer()
        peer.write(b"\x16\x03\x01")
        peer.loseWriteConnection()
        self.network.pump()
        self.assertEqual(["failed"], end.observer.told)
        self.assertEqual([], end.watcher.failures)

    def test_fin_before_its_turn(self) -> None:
        """A client that ends while the last step of its handshake waits for its turn is heard all
        the same, and then its end.
        """
        near, far = self.network.pair(HERE, THERE)
        client = End(self.network, TlsContext(settings()), NO_OPTIONS)
        served = End(self.network, TlsContext(settings(certificate())), NO_OPTIONS)
        served.transport.pace = pace = OneStep(self.network)
        far.start(served.transport)
        near.start(client.transport)
        client.transport.write(b"question")
        self.network.pump()
        self.assertEqual(([], 1), (served.above.events, len(pace.later)))
        client.transport.below.loseWriteConnection()
        self.network.pump()
        self.assertEqual([], served.above.events)
        pace.later.pop()()
        self.network.pump()
        self.assertEqual(b"question", served.above.received)
        self.assertEqual("eof", served.above.events[-1])
        self.assertEqual([], served.watcher.failures)

    def test_bad_record(self) -> None:
        """After bytes that are no record, what came before is delivered, then the end, and the peer
        gets an alert.
        """
        for version in BOTH:
            client, served = self.connect(
                TlsContext(settings(version=version)),
                TlsContext(settings(certificate(), version=version)),
            )
            client.transport.write(b"good")
            client.transport.below.write(b"\x17\x03\x03\x00\x20" + bytes(32))
            self.network.pump()
            self.assertEqual(b"good", served.above.received)
            self.assertTrue(served.above.lost_to(ConnectionDone))
            reason = served.above.reason
            self.assertTrue(reason is not None and reason.check(TransportSocketError))
            self.assertEqual(1, len(client.watcher.failures))

    def test_half_close(self) -> None:
        """The end of a stream is close_notify and no FIN, and the other way goes on; a FIN without
        it is the end too.
        """
        client, served = self.connect(TlsContext(settings()), TlsContext(settings(certificate())))
        client.transport.loseWriteConnection()
        self.network.pump()
        self.assertEqual(["made", "eof"], served.above.events)
        self.assertFalse(served.transport.below.outgoing.fin)
        self.assertFalse(client.transport.below.outgoing.fin)
        served.transport.write(b"answer")
        self.network.pump()
        self.assertEqual(b"answer", client.above.received)
        served.transport.below.loseWriteConnection()
        self.network.pump()
        self.assertEqual(["made", "fin", "data", "eof"], client.above.events)

    def test_errors_of_others(self) -> None:
        """What somebody has left in OpenSSL's queue of errors harms no connection."""
        client, served = self.connect(TlsContext(settings()), TlsContext(settings(certificate())))
        bad = SSL.Context(SSL.TLS_METHOD)
        lib.SSL_CTX_set_cipher_list(bad._context, b"NO-SUCH-CIPHER")
        self.assertTrue(lib.ERR_peek_error())
        self.assert_talk(client, served)
        self.assertEqual([], served.watcher.failures + client.watcher.failures)

    def test_renegotiation(self) -> None:
        """A client of TLS 1.2 that wants to negotiate anew is told that this is not done, and
        closed.
        """
        client, served = self.connect(
            TlsContext(settings(version=BOTH[0], allow_renegotiation=True)),
            TlsContext(settings(certificate(), version=BOTH[0])),
        )
        ssl = client.transport.engine._ssl
        lib.SSL_renegotiate(ssl)
        lib.SSL_do_handshake(ssl)
        lib.ERR_clear_error()
        client.transport._send_out()
        self.network.pump()
        self.assertEqual(["no renegotiation"], [str(each) for each in client.watcher.failures])
        told = [str(each) for each in served.watcher.failures]
        self.assertEqual(["no renegotiation"], told)

    def renegotiate(self, other: TlsContext | None = None, storm: int = 1) -> tuple[End, End]:
        """Two sides of TLS 1.2 of which the client allows that, and the server negotiates anew.

        :param other: whose certificate the server has then.
        :param storm: how often it does in a row.
        """
        trusts = settings(
            version=BOTH[0], allow_renegotiation=True, validation=trusting(), sessions_kept=0
        )
        server = settings(certificate(), version=BOTH[0], allow_renegotiation=True)
        client, served = self.connect(TlsContext(trusts), TlsContext(server))
        self.assert_talk(client, served)
        ssl = served.transport.engine._ssl
        if other is not None:
            lib.SSL_set_SSL_CTX(ssl, other._context(other._default)._context)
        for _ in range(storm):
            lib.SSL_renegotiate(ssl)
            lib.SSL_do_handshake(ssl)
            served.transport._send_out()
            self.network.pump()
        lib.ERR_clear_error()
        return client, served

    def test_renegotiation_with_a_host(self) -> None:
        """Where that is allowed, a host may negotiate anew, and bytes go on both ways."""
        client, served = self.renegotiate()
        served.transport.write(b" and more")
        client.transport.write(b" again")
        self.network.pump()
        self.assertEqual(b"answer and more", client.above.received)
        self.assertEqual(b"question again", served.above.received)
        self.assertEqual(1, len(client.watcher.done))

    def test_other_certificate_later(self) -> None:
        """A host that negotiates anew with another certificate than the one that was judged is not
        heard any more, whoever has signed it.
        """
        for ca in (authority(), Authority("other")):
            found = read_pair(*ca.issue("server.test"))
            other = TlsContext(settings(found, version=BOTH[0], allow_renegotiation=True))
            client, served = self.renegotiate(other)
            served.transport.write(b" and more")
            self.network.pump()
            self.assertEqual(b"answer", client.above.received)
            self.assertTrue(client.above.lost_to(ConnectionDone))
            self.assertEqual(1, len(client.watcher.failures))

    def test_large_writes(self) -> None:
        """More than a piece is written and read whole."""
        payload = bytes(range(256)) * 4096
        for version in BOTH:
            client, served = self.connect(
                TlsContext(settings(version=version)),
                TlsContext(settings(certificate(), version=version)),
                chunk=1 << 18,
            )
            client.transport.write(payload)
            served.transport.write(payload)
            self.network.pump()
            self.assertTrue(payload == served.above.received == client.above.received)

    def test_room_is_given_up(self) -> None:
        """What a large write took is not kept for as long as its connection lasts."""
        client, served = self.connect(TlsContext(settings()), TlsContext(settings(certificate())))
        engine = client.transport.engine
        for size, is_kept in ((1 << 13, False), (1 << 17, False), (100, True)):
            before = engine._outgoing
            client.transport.write(bytes(size))
            self.network.pump()
            self.assertEqual(is_kept, before == engine._outgoing, size)
        self.assertEqual((1 << 13) + (1 << 17) + 100, len(served.above.received))

    def test_released(self) -> None:
        """A connection that is over holds nothing of OpenSSL's, and whatever is done with its
        engine harms nobody.
        """
        client, served = self.connect(TlsContext(settings()), TlsContext(settings(certificate())))
        held = client.transport.engine
        client.transport.abortConnection()
        self.network.pump()
        self.assertIsNone(client.transport.engine)
        self.assertIsNone(served.transport.engine)
        self.assertRaises(TypeError, held.handshake, memoryview(b""))
        self.assertEqual([], callbacks.running)
        held.release()

    def test_tickets_go_with_bytes(self) -> None:
        """A server of TLS 1.3 sends its tickets with its first bytes, in one write."""
        client, served = self.connect(TlsContext(settings()), TlsContext(settings(certificate())))
        writes: list[int] = []
        below = served.transport.below
        write = below.write

        def noted(transport: Any, data: Any) -> None:
            writes.append(len(data))
            write(data)

        self.patch(type(below), "write", noted)
        served.transport.write(b"x")
        self.network.pump()
        self.assertEqual(1, len(writes))
        self.assertGreater(writes[0], 400)
        self.assertEqual(b"x", client.above.received)
