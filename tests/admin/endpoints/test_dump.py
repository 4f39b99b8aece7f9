"""The configuration as the admin interface shows it: `tcpmesh.admin.endpoints.dump` and
`tcpmesh.admin.answers.redact`.
"""

from __future__ import annotations

from base64 import b64decode
from typing import Any

from envoy.admin.v3 import config_dump_pb2
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3 import base_pb2
from envoy.extensions.filters.http.ext_authz.v3.ext_authz_pb2 import CheckSettings
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import TlsCertificate
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from google.protobuf import any_pb2, field_mask_pb2, json_format

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.admin.answers.redact import redacted
from tcpmesh.admin.endpoints import dump
from tcpmesh.values.statuses import ClusterStatus, DynamicResources, DynamicStatus
from tests.admin.endpoints.test_pages import PageTestCase
from tests.admin.fakes import host

TYPE = "type.googleapis.com/envoy.admin.v3."
TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."


class DumpTests(PageTestCase):
    """`/config_dump`."""

    def setUp(self) -> None:
        """Have one listener and three clusters."""
        super().setUp()
        static = self.server.bootstrap.static_resources
        listener = static.listeners.add(name="alpha")
        listener.filter_chains.add().filters.add(name="x").typed_config.Pack(
            tcp_proxy_pb2.TcpProxy(cluster="c", stat_prefix="t")
        )
        for name in ("alphabet", "beta", "c"):
            static.clusters.add(name=name).connect_timeout.FromMilliseconds(200)

    def configs(self, query: str = "") -> dict[str, Any]:
        """The messages of a dump by the last part of their type."""
        return {
            each["@type"].removeprefix(TYPE): each
            for each in self.json("/config_dump" + query).get("configs", [])
        }

    def test_everything(self) -> None:
        """The dump holds bootstrap, clusters, listeners and secrets, each with its type, in a form
        that can be parsed back.
        """
        found = self.configs()
        self.assertEqual(
            [
                "BootstrapConfigDump",
                "ClustersConfigDump",
                "ListenersConfigDump",
                "SecretsConfigDump",
            ],
            list(found),
        )
        clusters = found["ClustersConfigDump"]["static_clusters"]
        self.assertEqual(["alphabet", "beta", "c"], [each["cluster"]["name"] for each in clusters])
        self.assertEqual("0.200s", clusters[0]["cluster"]["connect_timeout"])
        self.assertRegex(clusters[0]["last_updated"], r"^\d{4}-\d\d-\d\dT[\d:.]+Z$")
        (listener,) = found["ListenersConfigDump"]["static_listeners"]
        self.assertEqual(
            "c", listener["listener"]["filter_chains"][0]["filters"][0]["typed_config"]["cluster"]
        )
        dump = json_format.ParseDict(self.json("/config_dump"), config_dump_pb2.ConfigDump())
        bootstrap = config_dump_pb2.BootstrapConfigDump()
        dump.configs[0].Unpack(bootstrap)
        self.assertEqual("tcpmesh", bootstrap.bootstrap.node.user_agent_name)
        bootstrap.bootstrap.ClearField("node")
        self.assertEqual(self.server.bootstrap, bootstrap.bootstrap)

    def test_secrets(self) -> None:
        """Static secrets are there by kind and name, without their keys."""
        secrets = self.server.bootstrap.static_resources.secrets
        secrets.add(name="peers").validation_context.trusted_ca.filename = "ca.pem"
        secrets.add(name="own").tls_certificate.private_key.inline_string = "key"
        own, peers = self.configs()["SecretsConfigDump"]["static_secrets"]
        self.assertEqual(("own", "peers"), (own["name"], peers["secret"]["name"]))
        kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
        self.assertEqual(kind, own["secret"]["@type"])
        key = own["secret"]["tls_certificate"]["private_key"]
        self.assertEqual({"inline_string": "[redacted]"}, key)
        found = self.configs("?name_regex=pe.*")["SecretsConfigDump"]["static_secrets"]
        self.assertEqual([peers], found)
        self.assertEqual([], self.json("/config_dump?resource=static_secrets")["configs"][2:])

    def test_made_in_turn(self) -> None:
        """Of ten thousand clusters each is put into words when its turn has come, not all before
        the first byte.
        """
        shown = []

        def remembering(message: Any) -> Any:
            shown.append(message)
            return redacted(message)

        self.patch(dump, "redacted", remembering)
        self.server.bootstrap.static_resources.clusters.extend(
            [self.server.bootstrap.static_resources.clusters[0]] * 1000
        )
        self.client.send("GET", "/config_dump")
        self.assertTrue(len(shown) < 1000)
        self.assertEqual(200, self.client.response().status)
        self.assertTrue(len(shown) > 2000)

    def test_discovered(self) -> None:
        """What discovery has brought stands beside what the bootstrap has, each with the version of
        its update; clusters that are warming stand apart.
        """
        alpha = self.server.bootstrap.static_resources.listeners[0]
        clusters = [Cluster(name="warming"), Cluster(name="new")]
        self.server.discovered_listeners = DynamicResources(
            "l2", (DynamicStatus(alpha, "l1", 1_800_000_000.0),)
        )
        self.server.discovered_clusters = DynamicResources(
            "c2", tuple(DynamicStatus(each, "c2", 1_800_000_000.0) for each in clusters)
        )
        found = self.configs()
        listeners, dumped = found["ListenersConfigDump"], found["ClustersConfigDump"]
        self.assertEqual(("l2", "c2"), (listeners["version_info"], dumped["version_info"]))
        (listener,) = listeners["dynamic_listeners"]
        state = listener["active_state"]
        self.assertEqual(
            ("alpha", "l1", "alpha", "2027-01-15T08:00:00Z"),
            (
                listener["name"],
                state["version_info"],
                state["listener"]["name"],
                state["last_updated"],
            ),
        )
        for name, kind in (("new", "active"), ("warming", "warming")):
            (cluster,) = dumped[f"dynamic_{kind}_clusters"]
            self.assertEqual((name, "c2"), (cluster["cluster"]["name"], cluster["version_info"]))
        (only,) = self.json("/config_dump?resource=dynamic_active_clusters")["configs"]
        self.assertEqual("new", only["cluster"]["name"])
        self.assertNotIn("dynamic_listeners", self.configs("?name_regex=x")["ListenersConfigDump"])

    def test_discovered_secrets(self) -> None:
        """A secret that discovery has brought is shown with its version, and nothing of its key;
        one that is still to come has no content.
        """
        source = {"inline_bytes": b"TOP SECRET"}
        pair = TlsCertificate(certificate_chain=source, private_key=source)
        self.server.discovered_secrets = (
            DynamicStatus(Secret(name="own", tls_certificate=pair), "s1", 1_800_000_000.0),
            DynamicStatus(Secret(name="new"), "uninitialized", 1_800_000_000.0),
        )
        own, new = self.json("/config_dump?resource=dynamic_active_secrets")["configs"]
        self.assertEqual(("own", "s1"), (own["name"], own["version_info"]))
        content = own["secret"]["tls_certificate"]
        self.assertEqual(b"TOP SECRET", b64decode(content["certificate_chain"]["inline_bytes"]))
        self.assertEqual(b"[redacted]", b64decode(content["private_key"]["inline_bytes"]))
        self.assertEqual({"@type": TLS + "Secret", "name": "new"}, new["secret"])
        found = self.configs("?name_regex=n.*")["SecretsConfigDump"]["dynamic_active_secrets"]
        self.assertEqual(["new"], [each["name"] for each in found])

    def test_resource(self) -> None:
        """One list can be had alone; what is no list, or not there, is refused."""
        found = self.json("/config_dump?resource=static_clusters")["configs"]
        self.assertEqual(
            {TYPE + "ClustersConfigDump.StaticCluster"}, {each["@type"] for each in found}
        )
        self.assertEqual(3, len(found))
        self.assertEqual({}, self.json("/config_dump?resource=dynamic_listeners"))
        self.assertIn("Use ?mask=bootstrap", self.refusal("/config_dump?resource=bootstrap"))
        missing = self.client.ask("/config_dump?resource=bogus")
        self.assertEqual((404, "bogus not found in config dump"), (missing.status, missing.body))

    def test_name_regex(self) -> None:
        """A name has to match as a whole; alone, the expression leaves the bootstrap as it is."""
        for regex, names in ((".*et.*", ["alphabet", "beta"]), ("beta", ["beta"]), ("bet", [])):
            found = self.json(f"/config_dump?resource=static_clusters&name_regex={regex}").get(
                "configs", []
            )
            self.assertEqual(names, [each["cluster"]["name"] for each in found])
        everything = self.configs("?name_regex=alpha")
        self.assertIn("bootstrap", everything["BootstrapConfigDump"])
        self.assertNotIn("static_clusters", everything["ClustersConfigDump"])
        self.assertEqual(1, len(everything["ListenersConfigDump"]["static_listeners"]))
        self.refusal("/config_dump?name_regex=[")

    def test_mask(self) -> None:
        """A mask keeps the fields that it names, and only the messages that have them all."""
        self.server.bootstrap.node.id = "n"
        self.assertEqual(
            {
                "BootstrapConfigDump": {
                    "@type": TYPE + "BootstrapConfigDump",
                    "bootstrap": {"node": {"id": "n"}},
                }
            },
            self.configs("?mask=bootstrap.node.id"),
        )
        self.assertEqual(["ClustersConfigDump"], list(self.configs("?mask=static_clusters")))
        first, *_ = self.json(
            "/config_dump?resource=static_clusters&mask=cluster.name,last_updated"
        )["configs"]
        self.assertEqual(
            {"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "alphabet"},
            first["cluster"],
        )
        self.assertIn("last_updated", first)
        first, *_ = self.json(
            "/config_dump?resource=static_clusters&mask=cluster.load_assignment.endpoints"
        )["configs"]
        self.assertEqual({"@type"}, set(first["cluster"]))
        for query in (
            "mask=bogus",
            "mask=bootstrap.node.id,static_clusters",
            "resource=static_clusters&mask=bogus",
        ):
            self.assertIn(
                "could not be successfully applied", self.refusal(f"/config_dump?{query}")
            )
        for path in ("cluster", "cluster.bogus", "cluster.name,cluster.load_assignment.bogus"):
            self.assertIn(
                "successfully applied",
                self.refusal(f"/config_dump?resource=static_clusters&mask={path}"),
            )

    def test_whole_doubles(self) -> None:
        """A double that is a whole number is written as one, as Envoy does."""
        self.server.bootstrap.node.metadata.update({"x": 1, "y": [1.5]})
        metadata = self.configs()["BootstrapConfigDump"]["bootstrap"]["node"]["metadata"]
        self.assertEqual(("1", "[1.5]"), (str(metadata["x"]), str(metadata["y"])))

    def test_nested(self) -> None:
        """Metadata that is nested deeper than protobuf would read is shown too."""
        static = self.server.bootstrap.static_resources
        for message in (static.listeners[0], static.clusters[0]):
            inner = message.metadata.filter_metadata["a"]
            for _ in range(60):
                inner = inner.fields["in"].struct_value
        found = self.configs()
        listener = found["ListenersConfigDump"]["static_listeners"][0]["listener"]
        cluster = found["ClustersConfigDump"]["static_clusters"][0]["cluster"]
        for shown in (listener, cluster):
            self.assertEqual(60, str(shown["metadata"]).count("'in'"))

    def test_endpoints(self) -> None:
        """On request the hosts of clusters are there, by priority and locality, with their health
        and weight.
        """
        metadata = base_pb2.Metadata()
        metadata.filter_metadata["envoy.lb"].update({"canary": True})
        down = {"health": "UNHEALTHY", "eds_health_status": "DRAINING"}
        here, away = (
            host("127.0.0.1:80", weight=5, metadata=metadata),
            host("[::1]:81", zone="z", priority=1, hostname="h", locality_weight=3, **down),
        )
        self.server.clusters = [
            ClusterStatus("c", "c", hosts=(away, here)),
            ClusterStatus("d", "d", added_via_api=True),
        ]
        self.assertNotIn("EndpointsConfigDump", self.configs())
        found = self.configs("?include_eds")["EndpointsConfigDump"]
        (config,) = found["static_endpoint_configs"]
        first, second = config["endpoint_config"]["endpoints"]
        self.assertEqual(
            (5, "HEALTHY"),
            tuple(first["lb_endpoints"][0][x] for x in ("load_balancing_weight", "health_status")),
        )
        self.assertEqual(
            ("h", "UNHEALTHY"),
            (
                second["lb_endpoints"][0]["endpoint"]["hostname"],
                second["lb_endpoints"][0]["health_status"],
            ),
        )
        self.assertEqual(({"zone": "z"}, 1), (second["locality"], second["priority"]))
        self.assertEqual((0, 3), (first["load_balancing_weight"], second["load_balancing_weight"]))
        (shown,) = first["lb_endpoints"]
        self.assertEqual({"filter_metadata": {"envoy.lb": {"canary": True}}}, shown["metadata"])
        self.assertEqual({}, shown["endpoint"]["health_check_config"])
        self.assertNotIn("endpoints", found["dynamic_endpoint_configs"][0]["endpoint_config"])
        self.assertEqual(140, config["endpoint_config"]["policy"]["overprovisioning_factor"])
        self.assertEqual(
            "d", found["dynamic_endpoint_configs"][0]["endpoint_config"]["cluster_name"]
        )
        json_format.ParseDict(self.json("/config_dump?include_eds"), config_dump_pb2.ConfigDump())


class RedactTests(SynchronousTestCase):
    """Secrets stay secret."""

    def test_private_keys(self) -> None:
        """A private key is not shown, nor where it is; its certificate is, and the original is not
        touched.
        """
        context = tls_pb2.DownstreamTlsContext()
        certificate = context.common_tls_context.tls_certificates.add()
        certificate.certificate_chain.filename = "cert.pem"
        certificate.private_key.inline_bytes = b"key"
        certificate.password.filename = "password"
        packed = any_pb2.Any()
        packed.Pack(context)
        shown = tls_pb2.DownstreamTlsContext()
        redacted(packed).Unpack(shown)
        (found,) = shown.common_tls_context.tls_certificates
        self.assertEqual("cert.pem", found.certificate_chain.filename)
        self.assertEqual(
            (b"[redacted]", "[redacted]"), (found.private_key.inline_bytes, found.password.filename)
        )
        self.assertEqual(b"key", certificate.private_key.inline_bytes)

    def test_all_kinds_of_fields(self) -> None:
        """Below a secret field, even in another message packed there, texts are replaced and
        numbers are left out.
        """
        proxy = tcp_proxy_pb2.TcpProxy(cluster="c")
        proxy.max_connect_attempts.value = 5
        proxy.metadata_match.filter_metadata["envoy.lb"].update({"a": "b"})
        proxy.tunneling_config.headers_to_add.add().header.key = "x"
        shown = self.shown_in_secret(proxy)
        self.assertEqual(("[redacted]", 0), (shown.cluster, shown.max_connect_attempts.value))
        self.assertEqual("[redacted]", shown.metadata_match.filter_metadata["envoy.lb"]["a"])
        self.assertEqual("[redacted]", shown.tunneling_config.headers_to_add[0].header.key)
        self.assertEqual(
            ["[redacted]"] * 2,
            list(self.shown_in_secret(field_mask_pb2.FieldMask(paths=["a", "b"])).paths),
        )

    def shown_in_secret(self, message: Any) -> Any:
        """What is shown of a message where it is packed in a secret field."""
        provider = (
            tls_pb2.DownstreamTlsContext()
            .common_tls_context.tls_certificates.add()
            .private_key_provider
        )
        provider.provider_name = "name"
        provider.typed_config.Pack(message)
        found = redacted(provider)
        self.assertEqual("name", found.provider_name)
        shown = type(message)()
        found.typed_config.Unpack(shown)
        return shown

    def test_maps(self) -> None:
        """A map that holds no secret is shown."""
        metadata = base_pb2.Metadata()
        metadata.filter_metadata["envoy.lb"].update({"a": ["b", {"c": 1}]})
        self.assertEqual(metadata, redacted(metadata))

    def test_secret_maps(self) -> None:
        """A map whose texts are secret is left out."""
        self.assertEqual(
            CheckSettings(), redacted(CheckSettings(context_extensions={"token": "t"}))
        )

    def test_packed_too_often(self) -> None:
        """Messages that are packed in each other are looked into, but not without end."""
        for times, is_shown in ((10, True), (500, False), (5000, False)):
            packed = any_pb2.Any(type_url="type.googleapis.com/google.protobuf.Any")
            for _ in range(times):
                packed, inner = any_pb2.Any(type_url=packed.type_url), packed
                packed.value = inner.SerializeToString()
            metadata = base_pb2.Metadata(typed_filter_metadata={"a": packed})
            self.assertEqual(is_shown, redacted(metadata) == metadata)

    def test_unknown_type(self) -> None:
        """What cannot be looked into is not shown."""
        self.assertEqual(
            any_pb2.Any(),
            redacted(any_pb2.Any(type_url="type.googleapis.com/no.Such", value=b"secret")),
        )
