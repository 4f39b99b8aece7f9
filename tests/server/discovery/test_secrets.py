"""Secrets by files (SDS)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from cryptography.x509 import NameOID
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.listener.v3.listener_pb2 import Listener
from google.protobuf.json_format import ParseDict

from tcpmesh.config.resources import SECRET
from tcpmesh.net.listen import BindError
from tcpmesh.net.moves import INTERVAL, CannotWatch
from tcpmesh.net.tls.context import TlsContext
from tcpmesh.net.tls.material import read_chain
from tcpmesh.net.tls.parsing import parse
from tcpmesh.testing.tls import authority, certificate, settings
from tests.extensions.transport_sockets.tls.test_tls import (
    FRONT,
    TlsMeshTestCase,
    config,
    issued,
    socket,
    trusting,
)
from tests.told import told_in

TYPE = "type.googleapis.com/"
FACTORY = "listener.127.0.0.1_1.server_ssl_socket_factory."


def certificate_secret(name: str, subject: str, **more: Any) -> dict[str, Any]:
    """A secret with a certificate that the authority of all tests has signed."""
    return {"name": name, "tls_certificate": issued(subject, **more)}


class SecretsTestCase(TlsMeshTestCase):
    """Base: a folder with files."""

    def setUp(self) -> None:
        """It is empty."""
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def put(self, file: str, *secrets: dict[str, Any], version: str = "", text: str = "") -> None:
        """Move a file of these into place."""
        typed = [{"@type": TYPE + SECRET, **each} for each in secrets]
        new = self.folder / "new"
        new.write_text(text or json.dumps({"version_info": version, "resources": typed}))
        os.replace(new, self.folder / file)
        self.settle()

    def settle(self) -> None:
        """Have the proxy notice what was moved."""
        if hasattr(self, "mesh"):
            self.mesh.advance(INTERVAL)

    def source(self, file: str, name: str) -> dict[str, Any]:
        """An `SdsSecretConfig`."""
        path = {"path_config_source": {"path": str(self.folder / file)}}
        return {"name": name, "sds_config": path}

    def own(self, name: str = "own") -> dict[str, Any]:
        """A `CommonTlsContext` that shows the certificate of a secret."""
        return {"tls_certificate_sds_secret_configs": [self.source(f"{name}.json", name)]}

    def begin(self, text: str, host: TlsContext | None = None) -> None:
        """Start a proxy of this bootstrap."""
        node = {"id": "n", "cluster": "c"}
        self.serve(json.dumps({"node": node, **json.loads(text)}), host)

    def shown(self) -> str:
        """Whose certificate a new client is shown; nothing where it is closed."""
        client = self.client()
        if client.transport is None or client.ended:
            return ""
        found = parse(client.transport.engine.chain[0]).subject
        return str(found.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)

    def sds(self, name: str = "own") -> dict[str, int]:
        """What has moved of a secret's counters."""
        moved = self.mesh.moved(f"sds.{name}.")
        return {key: n for key, n in moved.items() if key not in ("update_time", "version")}

    def dumped(self) -> list[tuple[str, str]]:
        """The names and versions of all secrets."""
        found = self.mesh.main.secrets.statuses()
        return [(each.message.name, each.version) for each in found]


class DownstreamTests(SecretsTestCase):
    """What clients are shown."""

    def begin_own(self, **more: Any) -> None:
        """A listener with the certificate of a secret."""
        self.begin(config(down=socket("Downstream", {**self.own(), **more})))

    def test_from_the_start(self) -> None:
        """The secret is there before the first client, and counts as in Envoy."""
        self.put("own.json", certificate_secret("own", "a.test"), version="v1")
        self.begin_own()
        self.assertEqual("a.test", self.shown())
        self.assertEqual({"update_attempt": 1, "update_success": 1}, self.sds())
        self.assertEqual({"ssl_context_update_by_sds": 1}, self.mesh.moved(FACTORY))
        self.assertEqual([("own", "v1")], self.dumped())

    def test_rotated(self) -> None:
        """Another file brings another certificate for new handshakes; who is connected notices
        nothing.
        """
        self.put("own.json", certificate_secret("own", "a.test"), version="v1")
        self.begin_own()
        old = self.client()
        self.put("own.json", certificate_secret("own", "b.test"), version="v2")
        self.assert_talk(old)
        self.assertEqual("b.test", self.shown())
        self.assertEqual(2, self.mesh.moved(FACTORY)["ssl_context_update_by_sds"])
        self.assertEqual([("own", "v2")], self.dumped())

    def test_same_again(self) -> None:
        """A file that says the same changes nothing, not even the version."""
        secret = certificate_secret("own", "a.test")
        self.put("own.json", secret, version="v1")
        self.begin_own()
        self.put("own.json", secret, version="v2")
        self.assertEqual({"update_attempt": 2, "update_success": 2}, self.sds())
        self.assertEqual(1, self.mesh.moved(FACTORY)["ssl_context_update_by_sds"])
        self.assertEqual([("own", "v1")], self.dumped())

    def test_wrong(self) -> None:
        """What is wrong leaves the certificate as it is, and counts as rejected."""
        secret = certificate_secret("own", "a.test")
        self.put("own.json", secret, version="v1")
        self.begin_own()
        mixed = {**issued("b.test"), "private_key": issued("b.test")["private_key"]}
        missing = {**issued("b.test"), "private_key": {"filename": "/nowhere"}}
        for number, secrets in enumerate(
            (
                [{"name": "own", "tls_certificate": mixed}],
                [{"name": "own", "tls_certificate": missing}],
                [{"name": "own", "tls_certificate": {}}],
                [{"name": "own", "validation_context": {}}],
                [{"name": "own", "session_ticket_keys": {"keys": [{"inline_string": "a" * 80}]}}],
                [certificate_secret("other", "b.test")],
                [secret, secret],
                [],
            ),
            1,
        ):
            self.put("own.json", *secrets, version="wrong")
            self.assertEqual(number, self.sds()["update_rejected"], secrets)
        self.put("own.json", text="{")
        self.assertEqual(1, self.sds()["update_failure"])
        self.assertEqual("a.test", self.shown())
        self.assertEqual([("own", "v1")], self.dumped())

    def test_told(self) -> None:
        """What is wrong is one line in the log, with the file and what becomes of the secret."""
        lines = told_in(self, "config").lines
        self.put("own.json", text="{}")
        self.begin_own()
        self.put("own.json", certificate_secret("own", "a.test"))
        self.put("own.json", certificate_secret("other", "a.test"))
        self.put("own.json", text="{")
        path = self.folder / "own.json"
        wanted = (
            f"the secret own is not there yet: {path}: resources: one secret has to be there",
            f"the secret own stays as it is: {path}:1:",
            f"the secret own stays as it is: {path}:1:",
        )
        found = [line for line in lines if "the secret" in line]
        self.assertEqual(len(wanted), len(found), found)
        for line, begins in zip(found, wanted, strict=True):
            self.assertTrue(line.startswith(begins), line)

    def test_warned(self) -> None:
        """A certificate that has expired is taken, and told."""
        lines = told_in(self, "config").lines
        self.put("own.json", certificate_secret("own", "a.test", days=-1))
        self.begin_own()
        self.assertEqual("a.test", self.shown())
        self.assertTrue(any("has expired" in line for line in lines), lines)

    def test_stopped(self) -> None:
        """When the proxy has stopped nobody looks any more, and nothing is left to be called."""
        self.put("own.json", certificate_secret("own", "a.test"))
        self.begin_own()
        self.mesh.main.stop()
        self.mesh.pump()
        self.put("own.json", certificate_secret("own", "b.test"))
        self.assertEqual("a.test", self.held())
        self.assertEqual([], self.mesh.network.clock.getDelayedCalls())

    def held(self) -> str:
        """Whose certificate main holds."""
        (discovery,) = self.mesh.main.secrets._known.values()
        chain = discovery.found.whole.tls_certificate.certificate_chain  # type: ignore[union-attr]
        found = read_chain(chain.inline_string.encode())[0].subject
        return str(found.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)

    def test_not_there_yet(self) -> None:
        """Without the secret a client is closed, which is counted; it is served once the secret
        comes.
        """
        self.put("own.json", text="{}")
        log = "%DOWNSTREAM_TRANSPORT_FAILURE_REASON% %RESPONSE_FLAGS%"
        self.begin(config(down=socket("Downstream", self.own()), log=log))
        self.assertEqual("", self.shown())
        self.assertEqual({"downstream_context_secrets_not_ready": 1}, self.mesh.moved(FACTORY))
        self.assertEqual(["TLS_error:_Secret_is_not_supplied_by_SDS -"], self.mesh.logged("/log"))
        self.assertEqual([("own", "uninitialized")], self.dumped())
        self.assertEqual(1, self.mesh.stat("tcp.t.downstream_cx_total"))
        self.put("own.json", certificate_secret("own", "a.test"), version="v1")
        self.assertEqual("a.test", self.shown())

    def test_part_is_missing(self) -> None:
        """All secrets of a context have to be there."""
        self.put("own.json", certificate_secret("own", "a.test"))
        self.put("trust.json", text="{}")
        trust = {"validation_context_sds_secret_config": self.source("trust.json", "trust")}
        self.begin_own(**trust)
        self.assertEqual("", self.shown())
        self.put("trust.json", {"name": "trust", **trusting()}, version="t1")
        self.assertEqual("a.test", self.shown())
        self.assertEqual(2, self.mesh.moved(FACTORY)["ssl_context_update_by_sds"])
        self.assertEqual(["own", "trust"], [name for name, _ in self.dumped()])

    def test_completed_context(self) -> None:
        """A secret that completes a context is judged as both together."""
        self.put("own.json", certificate_secret("own", "a.test"))
        self.put("trust.json", {"name": "trust", **trusting()})
        names = [{"san_type": "DNS", "matcher": {"exact": "x"}}]
        default = {"default_validation_context": {"match_typed_subject_alt_names": names}}
        named = {"validation_context_sds_secret_config": self.source("trust.json", "trust")}
        self.begin_own(combined_validation_context={**default, **named})
        self.put("trust.json", {"name": "trust", "validation_context": {}})
        self.assertEqual(1, self.sds("trust")["update_rejected"])

    def test_expiry(self) -> None:
        """Gauges and the days that are left follow a rotation."""
        self.put("own.json", certificate_secret("own", "a.test", days=30))
        self.begin_own()
        name = "listener.127.0.0.1_1.ssl.certificate.own.expiration_unix_time_seconds"
        before, first = self.mesh.stat(name), self.mesh.main.certificates.first_end
        self.assertEqual(before, first)
        self.put("own.json", certificate_secret("own", "a.test", days=10))
        after = self.mesh.stat(name)
        # Each is good from the time on when it was made.
        self.assertEqual(20, round((before - after) / 86400))
        self.assertEqual(after, self.mesh.main.certificates.first_end)
        (status,) = self.mesh.main.tls_statuses()
        self.assertEqual("<inline>", status.cert_chain[0].path)

    def test_unknown_fields(self) -> None:
        """A field that nobody knows is let pass, and counted."""
        self.put("own.json", {**certificate_secret("own", "a.test"), "nonsense": 1})
        self.begin_own()
        self.assertEqual(1, self.mesh.stat("server.dynamic_unknown_fields"))

    def test_another_worker(self) -> None:
        """A worker that begins later is told of the secrets that there are."""
        self.put("own.json", certificate_secret("own", "a.test"))
        self.begin_own()
        (told,) = self.mesh.main.begin(1).discovered_secrets
        self.assertEqual(("tls_certificate", "own"), told.key[:2])
        self.assertIn("PRIVATE KEY", told.message.tls_certificate.private_key.inline_string)


class FilesTests(SecretsTestCase):
    """Certificates in files of their own, which a secret names."""

    def generation(self, name: str, subject: str, key_of: str = "") -> None:
        """Swap a symbolic link, as Kubernetes does."""
        folder = self.folder / name
        folder.mkdir()
        pairs = {each: issued(each) for each in {subject, key_of or subject}}
        for file, field, whose in (
            ("tls.crt", "certificate_chain", subject),
            ("tls.key", "private_key", key_of or subject),
        ):
            (folder / file).write_text(pairs[whose][field]["inline_string"])
        link = self.folder / "..new"
        link.symlink_to(name)
        os.replace(link, self.folder / "..data")
        self.settle()

    def begin_files(self, folder: Path, **more: Any) -> None:
        """A listener with a certificate in this folder."""
        pair = {
            "certificate_chain": {"filename": str(folder / "tls.crt")},
            "private_key": {"filename": str(folder / "tls.key")},
        }
        self.put("own.json", {"name": "own", "tls_certificate": {**pair, **more}}, version="v1")
        self.begin(config(down=socket("Downstream", self.own())))

    def test_links_of_files(self) -> None:
        """Files that are links into a directory which is swapped are looked after by themselves."""
        for file in ("tls.crt", "tls.key"):
            (self.folder / file).symlink_to(f"..data/{file}")
        self.generation("one", "a.test")
        self.begin_files(self.folder)
        self.assertEqual("a.test", self.shown())
        self.generation("two", "b.test")
        self.assertEqual("b.test", self.shown())
        self.assertEqual({"update_attempt": 1, "update_success": 1}, self.sds())
        self.assertEqual(2, self.mesh.moved(FACTORY)["ssl_context_update_by_sds"])

    def test_watched_directory(self) -> None:
        """A directory that is looked after is that of `watched_directory`."""
        self.generation("one", "a.test")
        aside = self.folder / "aside"
        aside.mkdir()
        self.begin_files(self.folder / "..data", watched_directory={"path": str(aside)})
        self.generation("two", "b.test")
        self.assertEqual("a.test", self.shown())
        (aside / "x").write_text("")
        os.replace(aside / "x", aside / "y")
        self.settle()
        self.assertEqual("b.test", self.shown())

    def test_wrong(self) -> None:
        """Files that do not fit each other, or are not there, leave the certificate as it is: a
        rotation has failed.
        """
        self.generation("one", "a.test")
        data = self.folder / "..data"
        self.begin_files(data, watched_directory={"path": str(self.folder)})
        self.generation("two", "b.test", key_of="a.test")
        self.assertEqual("a.test", self.shown())
        (self.folder / "empty").mkdir()
        (self.folder / "..new").symlink_to("empty")
        os.replace(self.folder / "..new", data)
        self.settle()
        self.assertEqual("a.test", self.shown())
        self.assertEqual(2, self.sds()["key_rotation_failed"])
        self.generation("three", "b.test")
        self.assertEqual("b.test", self.shown())

    def test_nothing_new(self) -> None:
        """Something else that is moved there changes nothing."""
        self.generation("one", "a.test")
        self.begin_files(self.folder / "..data", watched_directory={"path": str(self.folder)})
        (self.folder / "x").write_text("")
        os.replace(self.folder / "x", self.folder / "y")
        self.settle()
        self.assertEqual(1, self.mesh.moved(FACTORY)["ssl_context_update_by_sds"])


class UpstreamTests(SecretsTestCase):
    """What hosts are shown, and which are believed."""

    CLIENT = "cluster.c.client_ssl_socket_factory."

    def begin_trusting(self, host: TlsContext) -> None:
        """A cluster that believes whom a secret says."""
        named = {"validation_context_sds_secret_config": self.source("trust.json", "trust")}
        log = "%RESPONSE_FLAGS% %UPSTREAM_TRANSPORT_FAILURE_REASON%"
        self.begin(config(up=socket("Upstream", named), log=log), host)

    def is_served(self) -> bool:
        """Whether a client in plain comes to the host."""
        client = self.mesh.connect(FRONT)
        return not client.ended

    def speaker(self) -> TlsContext:
        """One whose certificate the authority of all tests has signed."""
        return TlsContext(settings(certificate("server.test")))

    def test_trust(self) -> None:
        """Other authorities hold for new connections."""
        self.put("trust.json", {"name": "trust", **trusting()})
        self.begin_trusting(self.speaker())
        self.assertTrue(self.is_served())
        self.put("trust.json", {"name": "trust", **trusting(type(authority())("other"))})
        self.assertFalse(self.is_served())
        self.assertEqual(2, self.mesh.moved(self.CLIENT)["ssl_context_update_by_sds"])

    def test_not_there_yet(self) -> None:
        """Without the secret no connection succeeds, which is counted and told."""
        self.put("trust.json", text="{}")
        self.begin_trusting(self.speaker())
        self.assertFalse(self.is_served())
        self.assertEqual({"upstream_context_secrets_not_ready": 1}, self.mesh.moved(self.CLIENT))
        self.assertEqual(1, self.mesh.stat("cluster.c.upstream_cx_connect_fail"))
        self.assertEqual(
            ["UF,URX TLS_error:_Secret_is_not_supplied_by_SDS"], self.mesh.logged("/log")
        )


class SharedTests(SecretsTestCase):
    """Several who name one secret, and those that come and go."""

    def setUp(self) -> None:
        """A proxy with no listener of TLS, and a secret."""
        super().setUp()
        self.put("own.json", certificate_secret("own", "a.test"), version="v1")
        self.begin(config())

    def listener(self, number: int, common: dict[str, Any]) -> Any:
        """A listener with TLS."""
        bootstrap = json.loads(config(down=socket("Downstream", common)))
        (text,) = bootstrap["static_resources"]["listeners"]
        text["name"] = f"l{number}"
        text["address"]["socket_address"]["port_value"] = number
        return ParseDict(text, Listener())

    def test_shared(self) -> None:
        """Who names the same secret of the same file shares it: it is read once, counts for each,
        and is looked after until the last of them goes.
        """
        listeners = self.mesh.listeners
        for number in (2, 3):
            listeners.add_or_update(self.listener(number, self.own()))
        self.assertEqual({"update_attempt": 1, "update_success": 1}, self.sds())
        for number in (2, 3):
            name = f"listener.127.0.0.1_{number}.server_ssl_socket_factory."
            self.assertEqual({"ssl_context_update_by_sds": 1}, self.mesh.moved(name))
        calls = len(self.mesh.network.clock.getDelayedCalls())
        for name, left in (("l2", 1), ("l3", 0)):
            listeners.remove(name)
            self.mesh.pump()
            self.assertEqual(left, len(self.dumped()))
        self.assertEqual({}, self.mesh.stats("sds."))
        # The drains of two listeners, and no look at the file any more.
        self.assertEqual(calls + 2 - 1, len(self.mesh.network.clock.getDelayedCalls()))
        self.assertEqual(0, len(self.mesh.worker.context.secrets))
        self.assertEqual(0, len(self.mesh.main.context.secrets))

    def test_chains_in_place(self) -> None:
        """Chains of an update that names another secret have it, and let go of the one before."""
        listeners = self.mesh.listeners
        listeners.add_or_update(self.listener(2, self.own()))
        self.put("next.json", certificate_secret("next", "b.test"))
        listeners.add_or_update(self.listener(2, self.own("next")))
        self.mesh.pump()
        self.assertEqual(["next"], [name for name, _ in self.dumped()])

    def test_refused(self) -> None:
        """A listener that cannot be had lets go of its secrets."""
        taken = self.listener(1, self.own())
        self.assertRaises(BindError, self.mesh.listeners.add_or_update, taken)
        self.assertEqual([], self.dumped())

    def test_no_directory(self) -> None:
        """A listener with a secret from a directory that is not there is refused."""
        wrong = {"name": "own", "sds_config": {"path": "/nowhere/at/all.yaml"}}
        message = self.listener(2, {"tls_certificate_sds_secret_configs": [wrong]})
        self.assertRaises(CannotWatch, self.mesh.listeners.add_or_update, message)
        self.assertEqual([], self.dumped())
        self.assertEqual({}, self.mesh.stats("sds."))

    def test_cluster(self) -> None:
        """A cluster that goes lets go of its secrets, as one that takes its place has its own."""
        bootstrap = json.loads(config(up=socket("Upstream", self.own())))
        (text,) = bootstrap["static_resources"]["clusters"]
        text["name"] = "d"
        self.mesh.clusters.add_or_update(ParseDict(text, Cluster()))
        self.assertEqual([("own", "v1")], self.dumped())
        self.mesh.clusters.add_or_update(ParseDict({**text, "alt_stat_name": "e"}, Cluster()))
        self.assertEqual([("own", "v1")], self.dumped())
        self.mesh.clusters.remove("d")
        self.assertEqual([], self.dumped())
