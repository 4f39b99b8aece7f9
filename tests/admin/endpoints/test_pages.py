"""The pages of the admin interface, each by what it answers: `tcpmesh.admin`."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

from envoy.admin.v3 import clusters_pb2, listeners_pb2, memory_pb2, server_info_pb2
from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from google.protobuf import json_format

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.admin.answers.address import address_json
from tcpmesh.admin.table import ENDPOINTS
from tcpmesh.runtime.layers import Layers
from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.store import Store
from tcpmesh.values.drain import DrainScope
from tcpmesh.values.server_options import ServerOptions
from tcpmesh.values.statuses import (
    BreakerThresholds,
    CertificateStatus,
    ClusterStatus,
    ListenerStatus,
    OutlierStatus,
    RateStatus,
    TlsContextStatus,
)
from tests.admin.client import Client
from tests.admin.fakes import FakeServer, host
from tests.stats.exposition.strict import read


class PageTestCase(SynchronousTestCase):
    """What the tests of all pages need."""

    def setUp(self) -> None:
        """Connect a client to a server."""
        self.server = FakeServer()
        self.client = Client(self.server)

    def text(self, path: str) -> str:
        """The body of a page that is there."""
        found = self.client.ask(path)
        self.assertEqual(
            (200, "text/plain; charset=UTF-8"), (found.status, found.headers["content-type"])
        )
        return found.body

    def json(self, path: str) -> Any:
        """The value of a page in JSON."""
        found = self.client.ask(path)
        self.assertEqual((200, "application/json"), (found.status, found.headers["content-type"]))
        return json.loads(found.body)

    def post(self, path: str) -> str:
        """The body of a page that changes something."""
        found = self.client.ask(path, "POST")
        self.assertEqual(200, found.status, found.body)
        return found.body

    def refusal(self, path: str, method: str = "GET") -> str:
        """The body of a page that refuses the request as wrong."""
        found = self.client.ask(path, method)
        self.assertEqual(400, found.status, found.body)
        return found.body


class InfoTests(PageTestCase):
    """Pages about the process."""

    def test_ready(self) -> None:
        """Readiness is a status for load balancers and a word for people."""
        for state in ("PRE_INITIALIZING", "INITIALIZING", "DRAINING"):
            self.server.state = state
            found = self.client.ask("/ready")
            self.assertEqual((503, f"{state}\n"), (found.status, found.body))

    def test_health(self) -> None:
        """A proxy that is to fail health checks says so, until it is to pass them again."""
        self.assertEqual("OK\n", self.post("/healthcheck/fail"))
        self.assertEqual(503, self.client.ask("/ready").status)
        self.assertEqual("DRAINING", self.json("/server_info")["state"])
        self.assertEqual("OK\n", self.post("/healthcheck/ok"))
        self.assertEqual("LIVE\n", self.text("/ready"))

    def test_drain(self) -> None:
        """How listeners are to be drained is said by flags; where they are not to be drained
        gracefully, nor to stop, nothing is to be done.
        """
        for query, how in (
            ("", [(DrainScope.ALL, False, True)]),
            ("?graceful", [(DrainScope.ALL, True, True)]),
            ("?inboundonly&graceful&skip_exit", [(DrainScope.INBOUND, True, False)]),
            ("?skip_exit", []),
        ):
            self.assertEqual("OK\n", self.post(f"/drain_listeners{query}"))
            self.assertEqual(how, self.server.drains)
            self.server.drains.clear()

    def test_init_dump(self) -> None:
        """Before the clusters are warm the listeners are what is not ready; a mask may ask for
        something else, of which there is none.
        """
        self.assertEqual({}, self.json("/init_dump"))
        self.server.state = "PRE_INITIALIZING"
        self.server.listeners = [ListenerStatus("front", ())]
        (found,) = self.json("/init_dump?mask=listener")["unready_targets_dumps"]
        self.assertRegex(found["name"], r"^init manager Listener-local-init-manager front \d+$")
        self.assertEqual({}, self.json("/init_dump?mask=cluster"))

    def test_help(self) -> None:
        """The help text names every page, by path, with its parameters."""
        lines = self.text("/help").splitlines()
        self.assertEqual("admin commands are:", lines[0])
        paths = [
            line.split(":")[0].strip().removesuffix(" (POST)")
            for line in lines
            if line.startswith("  /")
        ]
        self.assertEqual(sorted(each.path for each in ENDPOINTS if each.is_listed), paths)
        self.assertIn("  /quitquitquit (POST): exit the server", lines)
        self.assertIn("      format: Format to use; One of (text, json)", lines)

    def test_server_info(self) -> None:
        """The process tells its state, times, options and node, in the schema's own types."""
        options = ServerOptions(
            config_path="envoy.yaml",
            concurrency=2,
            drain_time_s=17,
            file_flush_interval_msec=200,
            service_cluster="over",
        )
        self.server.options = options
        node = self.server.bootstrap.node
        node.id, node.cluster, node.locality.zone = "n", "c", "z"
        node.metadata.update({"k": "v"})
        found = self.json("/server_info")
        self.assertEqual(
            ("LIVE", "61s", "61s"),
            (found["state"], found["uptime_current_epoch"], found["uptime_all_epochs"]),
        )
        line = found["command_line_options"]
        self.assertEqual(
            ("envoy.yaml", 2, "17s", "900s"),
            tuple(
                line[x]
                for x in ("config_path", "concurrency", "drain_time", "parent_shutdown_time")
            ),
        )
        self.assertEqual(
            ("Serve", "Gradual", "0.200s", 0),
            tuple(
                line[x] for x in ("mode", "drain_strategy", "file_flush_interval", "restart_epoch")
            ),
        )
        node = found["node"]
        self.assertEqual(
            ("n", "over", "z", {"k": "v"}),
            (node["id"], node["cluster"], node["locality"]["zone"], node["metadata"]),
        )
        self.assertEqual("tcpmesh", node["user_agent_name"])
        self.assertEqual("c", self.server.bootstrap.node.cluster)
        json_format.ParseDict(found, server_info_pb2.ServerInfo())

    def test_memory(self) -> None:
        """Sizes are in bytes, and as 64-bit numbers are in JSON."""
        found = self.json("/memory")
        self.assertGreater(
            json_format.ParseDict(found, memory_pb2.Memory()).total_physical_bytes, 1 << 20
        )

    def test_certs_and_hot_restart(self) -> None:
        """The certificates of each context are shown, without TLS none; hot restart is off."""
        self.assertEqual({"certificates": []}, self.json("/certs"))
        ends = int(time.time()) + 9 * 86400 + 9
        shown = CertificateStatus("/x", "0a", (("dns", "a.test"),), 0, ends, (1, 86400))
        self.server.contexts = [TlsContextStatus(cert_chain=(shown,))]
        found = self.json("/certs")["certificates"][0]
        self.assertEqual(found["ca_cert"], [])
        self.assertEqual(found["cert_chain"][0].pop("expiration_time")[-1], "Z")
        self.assertEqual(
            found["cert_chain"],
            [
                {
                    "path": "/x",
                    "serial_number": "0a",
                    "subject_alt_names": [{"dns": "a.test"}],
                    "days_until_expiration": "9",
                    "valid_from": "1970-01-01T00:00:00Z",
                    "ocsp_details": {
                        "valid_from": "1970-01-01T00:00:01Z",
                        "expiration": "1970-01-02T00:00:00Z",
                    },
                }
            ],
        )
        self.assertEqual("disabled", self.text("/hot_restart_version"))


class StatsTests(PageTestCase):
    """Statistics."""

    def setUp(self) -> None:
        """Count something."""
        super().setUp()
        scope = self.server.store.scope("cluster.c")
        scope.counter("total").tally += 3
        scope.counter("none")
        scope.gauge("active", Merge.SUM).set(1)
        scope.histogram("ms").record(2)
        self.server.store.merge_histograms()

    def test_filters(self) -> None:
        """A filter is searched in names and may be inverted; unused ones and other kinds can be
        left out.
        """
        self.assertEqual(
            "cluster.c.active: 1\ncluster.c.none: 0\ncluster.c.total: 3\n",
            self.text("/stats?filter=^cluster%5C.c%5C.[a-l,n-z]"),
        )
        self.assertEqual(
            "cluster.c.active: 1\ncluster.c.total: 3\n",
            self.text("/stats?usedonly&filter=^cluster.c.(a|n|t)"),
        )
        self.assertEqual(
            "cluster.c.active: 1\n", self.text("/stats?type=Gauges&invert_filter&filter=admin")
        )
        self.assertEqual("", self.text("/stats?filter=nothing"))

    def test_formats(self) -> None:
        """Every format shows the same statistics."""
        self.assertEqual(
            {"name": "cluster.c.total", "value": 3},
            self.json("/stats?format=json&filter=total$")["stats"][0],
        )
        self.assertIn("cluster.c.total: 3\n", self.text("/stats?format=text"))
        for path in ("/stats/prometheus", "/stats?format=prometheus"):
            self.assertEqual(
                3, read(self.text(path)).value("envoy_cluster_total", envoy_cluster_name="c")
            )
        for form in ("html", "active-html"):
            found = self.client.ask(f"/stats?format={form}")
            self.assertEqual("text/html; charset=UTF-8", found.headers["content-type"])
            self.assertIn("cluster.c.total: 3\n", found.body)

    def test_histogram_views(self) -> None:
        """Histograms are shown as quantiles, buckets or bins."""
        self.assertIn("cluster.c.ms: P0(2.05,2.05)", self.text("/stats?filter=ms"))
        self.assertIn("B5(1,1) B10(0,0)", self.text("/stats?filter=ms&histogram_buckets=disjoint"))
        found = read(self.text("/stats/prometheus?histogram_buckets=summary&filter=cluster.*ms"))
        self.assertEqual({"envoy_cluster_ms": "summary"}, found.types)

    def test_mistakes(self) -> None:
        """Wrong parameters are refused, with what would be right."""
        self.assertTrue(self.refusal("/stats?filter=[").startswith("Invalid re2 regex: "))
        self.assertEqual(
            "usage: /stats?format=(html|active-html|json|prometheus|text)\n\n",
            self.refusal("/stats?format=bogus"),
        )
        self.assertEqual("invalid &type= param", self.refusal("/stats?type=gauges"))
        self.assertTrue(
            self.refusal("/stats?histogram_buckets=bogus").startswith(
                "usage: /stats?histogram_buckets=("
            )
        )
        self.assertEqual(
            "unsupported prometheus histogram bucket mode",
            self.refusal("/stats/prometheus?histogram_buckets=detailed"),
        )
        self.refusal("/stats/prometheus?filter=[")

    def test_reset(self) -> None:
        """Counters start from 0 again and still count as used; gauges stay."""
        self.assertEqual("OK\n", self.post("/reset_counters"))
        self.assertEqual(
            "cluster.c.active: 1\ncluster.c.total: 0\n",
            self.text("/stats?usedonly&filter=^cluster.c.(a|n|t)"),
        )


class ClusterTests(PageTestCase):
    """Clusters and hosts."""

    def setUp(self) -> None:
        """Have clusters of all sorts."""
        super().setUp()
        sick = host(
            "[::1]:9",
            hostname="h",
            health_flags=("failed_active_hc", "failed_eds_health"),
            eds_health_status="UNHEALTHY",
        )
        near = host(
            "/run/x.sock",
            region="r",
            zone="z",
            sub_zone="s",
            weight=3,
            priority=1,
            canary=True,
            success_rate=99.5,
        )
        self.server.clusters = [
            ClusterStatus("web", "alt", hosts=(host(), sick)),
            ClusterStatus("db", "db", True, BreakerThresholds(max_connections=7), hosts=(near,)),
            ClusterStatus(
                "empty", "empty", outliers=OutlierStatus(local_origin=RateStatus(98.5, 90))
            ),
        ]

    def test_text(self) -> None:
        """Each fact is a line, for grep."""
        lines = self.text("/clusters").splitlines()
        for line in (
            "web::observability_name::alt",
            "web::default_priority::max_connections::1024",
            "web::high_priority::max_retries::3",
            "web::added_via_api::false",
            "web::127.0.0.2:8080::cx_active::2",
            "web::127.0.0.2:8080::health_flags::healthy",
            "web::127.0.0.2:8080::success_rate::-1",
            "web::[::1]:9::health_flags::/failed_active_hc/failed_eds_health",
            "web::[::1]:9::hostname::h",
            "db::added_via_api::true",
            "db::default_priority::max_connections::7",
            "db::/run/x.sock::weight::3",
            "db::/run/x.sock::sub_zone::s",
            "db::/run/x.sock::canary::true",
            "db::/run/x.sock::success_rate::99.5",
            "empty::observability_name::empty",
            "empty::outlier::success_rate_average::-1",
            "empty::outlier::local_origin_success_rate_average::98.5",
            "empty::outlier::local_origin_success_rate_ejection_threshold::90",
        ):
            self.assertIn(line, lines)
        keys = [
            line.split("::")[-2]
            for line in lines
            if line.startswith("web::127.0.0.2:8080::cx") or "8080::rq" in line
        ]
        self.assertEqual(sorted(keys), keys)

    def test_json(self) -> None:
        """The JSON is the schema's: zeros are left out, counts are strings, gauges are marked."""
        found = self.json("/clusters?format=json")
        web, db, empty = found["cluster_statuses"]
        json_format.ParseDict(found, clusters_pb2.Clusters())
        good, sick = web["host_statuses"]
        self.assertEqual(
            {"socket_address": {"address": "127.0.0.2", "port_value": 8080}}, good["address"]
        )
        self.assertEqual({"eds_health_status": "HEALTHY"}, good["health_status"])
        self.assertEqual(
            {"failed_active_health_check": True, "eds_health_status": "UNHEALTHY"},
            sick["health_status"],
        )
        self.assertEqual({"value": "3", "name": "cx_total"}, good["stats"][1])
        self.assertEqual({"name": "rq_error"}, good["stats"][2])
        self.assertEqual({"type": "GAUGE", "value": "2", "name": "cx_active"}, good["stats"][6])
        near = db["host_statuses"][0]
        self.assertEqual({"region": "r", "zone": "z", "sub_zone": "s"}, near["locality"])
        self.assertEqual(
            (3, 1, {"value": 99.5}), (near["weight"], near["priority"], near["success_rate"])
        )
        self.assertEqual(7, db["circuit_breakers"]["thresholds"][0]["max_connections"])
        self.assertTrue(db["added_via_api"])
        self.assertNotIn("host_statuses", empty)
        self.assertEqual({"value": 90}, empty["local_origin_success_rate_ejection_threshold"])
        self.assertNotIn("success_rate_ejection_threshold", empty)

    def test_filter(self) -> None:
        """A filter is searched in the names of clusters."""
        self.assertEqual(
            {"web"}, {line.split("::")[0] for line in self.text("/clusters?filter=w").splitlines()}
        )
        self.assertEqual({}, self.json("/clusters?filter=nope&format=json"))
        self.refusal("/clusters?filter=[")


class ListenerTests(PageTestCase):
    """Listeners."""

    def test_listeners(self) -> None:
        """Listeners are shown with what they are really bound to, all addresses of each."""
        self.server.listeners = [
            ListenerStatus("l", ("127.0.0.1:80", "[::1]:81")),
            ListenerStatus("p", ("@x",)),
            ListenerStatus("no", ()),
        ]
        self.assertEqual("l::127.0.0.1:80\nl::[::1]:81\np::@x\n", self.text("/listeners"))
        found = self.json("/listeners?format=json")
        json_format.ParseDict(found, listeners_pb2.Listeners())
        both, pipe, none = found["listener_statuses"]
        self.assertEqual(
            {"socket_address": {"address": "127.0.0.1", "port_value": 80}}, both["local_address"]
        )
        self.assertEqual(
            [{"socket_address": {"address": "::1", "port_value": 81}}],
            both["additional_local_addresses"],
        )
        self.assertEqual({"name": "p", "local_address": {"pipe": {"path": "@x"}}}, pipe)
        self.assertEqual({"name": "no"}, none)

    def test_addresses(self) -> None:
        """Whatever has no port is a pipe."""
        self.assertEqual({"pipe": {"path": "/a:80"}}, address_json("/a:80"))
        self.assertEqual({"pipe": {"path": "a"}}, address_json("a"))


class LoggingTests(PageTestCase):
    """Levels of loggers."""

    def test_levels(self) -> None:
        """One, several or all levels can be changed, and are always shown."""
        self.assertIn("  main: info\n", self.post("/logging"))
        self.assertIn("  main: debug\n", self.post("/logging?main=debug"))
        shown = self.post("/logging?paths=admin:trace,upstream:off")
        self.assertIn("active loggers:\n  admin: trace\n", shown)
        self.assertIn("  upstream: off\n", shown)
        self.assertNotIn("debug", self.post("/logging?level=error"))

    def test_mistakes(self) -> None:
        """A mistake changes nothing, and is answered with what would be right."""
        for query in (
            "level=bogus",
            "nope=info",
            "paths=main:debug,nope:info",
            "paths=main",
            "level=off&main=off",
            "group=main:debug",
        ):
            found = self.refusal(f"/logging?{query}", "POST")
            self.assertTrue(found.startswith("error: "), found)
            self.assertIn("levels: trace debug info warning error critical off\n", found)
        self.assertEqual({"info"}, set(self.server.log_levels.get().values()))

    def test_others(self) -> None:
        """Loggers of Envoy's that say nothing here can be set, as scripts do, and so can an
        extension's that has spoken; an empty part of a list is none.
        """
        self.assertIn("  router: debug\n", self.post("/logging?router=debug"))
        self.server.log_levels.shows("kitchen", "info")
        self.assertIn("  kitchen: info\n", self.post("/logging"))
        self.assertIn("  kitchen: off\n", self.post("/logging?kitchen=off"))
        self.addCleanup(logging.getLogger("kitchen").setLevel, logging.NOTSET)
        self.addCleanup(logging.getLogger("router").setLevel, logging.NOTSET)
        self.assertIn("  main: debug\n", self.post("/logging?paths=main:debug,"))

    def test_reopen(self) -> None:
        """The log file is opened anew on request."""
        self.assertEqual("OK\n", self.post("/reopen_logs"))
        self.assertEqual(1, self.server.reopened)


class RuntimeTests(PageTestCase):
    """Runtime values."""

    def layer(self, name: str, **values: object) -> None:
        """There is a layer more: of these values, or else that of operators."""
        self.bootstrap = getattr(self, "bootstrap", Bootstrap())
        layer = self.bootstrap.layered_runtime.layers.add(name=name)
        if values:
            json_format.ParseDict(values, layer.static_layer)
        else:
            layer.admin_layer.SetInParent()
        self.server.layers = Layers(self.bootstrap, "", Store(), lambda message: None)

    def test_nothing(self) -> None:
        """Without layers there is nothing to show, and nothing that could be modified."""
        self.assertEqual({"entries": {}, "layers": []}, self.json("/runtime"))
        found = self.client.ask("/runtime_modify?a=b", "POST")
        self.assertEqual((503, "No admin layer specified"), (found.status, found.body))
        usage = self.refusal("/runtime_modify", "POST")
        self.assertTrue(usage.startswith("usage: /runtime_modify?key1=value1&"))
        self.assertTrue(usage.endswith("to remove a previously added override"))

    def test_shown(self) -> None:
        """Keys are sorted; each has its text in every layer, and the last one that is not empty."""
        self.layer("a", x=1, b={"c": True})
        self.layer("b", x="", a="t\n")
        found = self.client.ask("/runtime").body
        self.assertEqual(
            json.loads(found),
            {
                "entries": {
                    "a": {"final_value": "t\n", "layer_values": ["", "t\n"]},
                    "b.c": {"final_value": "true", "layer_values": ["true", ""]},
                    "x": {"final_value": "1", "layer_values": ["1", ""]},
                },
                "layers": ["a", "b"],
            },
        )
        self.assertEqual(found, json.dumps(json.loads(found), indent=1) + "\n")

    def test_many(self) -> None:
        """Thousands of keys are sorted too, a few at a time."""
        keys = [f"k{number}" for number in range(2000)]
        self.layer("a", **dict.fromkeys(keys, 1))
        self.assertEqual(list(self.json("/runtime")["entries"]), sorted(keys))

    def test_modify(self) -> None:
        """Values are set by parameters and taken away by empty ones."""
        self.layer("a", x=1)
        self.layer("b")
        self.assertEqual("OK\n", self.post("/runtime_modify?x=7&y.z=hello%20you"))
        found = self.json("/runtime")["entries"]
        self.assertEqual(found["x"], {"final_value": "7", "layer_values": ["1", "7"]})
        self.assertEqual(found["y.z"]["final_value"], "hello you")
        self.assertEqual("OK\n", self.post("/runtime_modify?x=&y.z"))
        self.assertEqual(self.json("/runtime")["entries"].keys(), {"x"})

    def test_no_value(self) -> None:
        """What is no YAML is refused, with the reason."""
        self.layer("b")
        found = self.client.ask("/runtime_modify?x={a", "POST")
        self.assertEqual(503, found.status)
        self.assertIn("not YAML", found.body)


class QuitTests(PageTestCase):
    """The end."""

    def test_after_the_answer(self) -> None:
        """The client gets its answer first: the process ends once that connection is closed."""
        self.assertEqual("OK\n", self.post("/quitquitquit"))
        self.assertTrue(self.client.transport.closed)
        self.assertEqual(0, self.server.quits)
        self.client.leave()
        self.assertEqual(1, self.server.quits)
