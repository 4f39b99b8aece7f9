"""What else a configuration has: secrets, stats sinks, names that discovery has too, and clusters
that have to find their hosts first.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tcpmesh.admin.answers.endpoint import Refusal
from tcpmesh.config.resources import CLUSTER
from tcpmesh.listener.updates import MANY
from tcpmesh.server.reload.applying import WARMING
from tcpmesh.server.service import Server
from tcpmesh.testing.certificates import Authority
from tcpmesh.testing.mesh import address_of
from tcpmesh.values.lifecycle.reload import Verdict
from tcpmesh.values.link import AddListener, BuildAhead, UpdateChains
from tests.server.reload.test_reloads import ReloadTestCase, address, cluster, listener

TYPE = "type.googleapis.com/"
TLS = f"{TYPE}envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
STATSD = f"{TYPE}envoy.config.metrics.v3.StatsdSink"
FILE_LOG = f"{TYPE}envoy.extensions.access_loggers.file.v3.FileAccessLog"


class SecretTests(ReloadTestCase):
    """Static secrets."""

    def secret(self, name: str) -> dict[str, Any]:
        """A certificate for this name."""
        chain, key = ({"inline_string": pem.decode()} for pem in Authority().issue(name))
        return {"name": "s", "tls_certificate": {"certificate_chain": chain, "private_key": key}}

    def with_tls(self, name: str, at: str) -> dict[str, Any]:
        """A listener with that certificate."""
        found = listener(name, at)
        config = {"tls_certificate_sds_secret_configs": [{"name": "s"}]}
        typed = {"@type": TLS, "common_tls_context": config}
        found["filter_chains"][0]["transport_socket"] = {"name": "tls", "typed_config": typed}
        return found

    def names(self, server: Server) -> list[str]:
        """For whom the certificates are that are shown."""
        found = [each for status in server.tls_statuses() for each in status.cert_chain]
        return [name for each in found for _, name in each.subject_alt_names]

    def test_changed(self) -> None:
        """Who uses one that has changed is replaced, and nobody else."""
        both = {
            "listeners": [self.with_tls("l", "127.0.0.1:1"), listener("m", "127.0.0.1:2")],
            "clusters": [cluster("a")],
        }
        self.put(**both, secrets=[self.secret("one.test")])
        server = self.start()
        self.assertEqual(["one.test"], self.names(server))
        before = [self.network.ports[address_of(f"127.0.0.1:{port}")] for port in (1, 2)]
        done = self.reload(server, **both, secrets=[self.secret("two.test")])
        self.assertEqual(Verdict.APPLIED, done.verdict, done.errors)
        first, second = map(str, done.changes)
        self.assertEqual("listener l changed: secret s", first)
        self.assertTrue(second.startswith("secret s changed: tls_certificate."), second)
        self.assertEqual(["two.test"], self.names(server))
        after = [self.network.ports[address_of(f"127.0.0.1:{port}")] for port in (1, 2)]
        self.assertIsNot(before[0], after[0])
        self.assertIs(before[1], after[1])
        self.connect("127.0.0.1:1")

    def test_put_back(self) -> None:
        """Where something else cannot be had, they are those of before."""
        both = {"listeners": [self.with_tls("l", "127.0.0.1:1")], "clusters": [cluster("a")]}
        self.put(**both, secrets=[self.secret("one.test")])
        server = self.start()
        bind = self.network.bind
        tried: list[object] = []

        def taken_meanwhile(at: Any, options: Any = None) -> Any:
            if at.port == 9:
                tried.append(at)
                if len(tried) == 2:
                    bind(at)
            return bind(at, options)

        self.patch(self.network, "bind", taken_meanwhile)
        both["listeners"].append(listener("m", "127.0.0.1:9"))
        done = self.reload(server, **both, secrets=[self.secret("two.test")])
        self.assertEqual(Verdict.REFUSED, done.verdict)
        self.assertEqual(["one.test"], self.names(server))
        self.connect("127.0.0.1:1")


class SettingTests(ReloadTestCase):
    """Stats sinks and the admin interface."""

    def sink(self, port: int) -> dict[str, Any]:
        """One to a port."""
        return {
            "name": "s",
            "typed_config": {"@type": STATSD, "address": address(f"127.0.0.1:{port}")},
        }

    def test_sinks(self) -> None:
        """Those that did not change stay, others come and go."""
        self.put(more={"stats_sinks": [self.sink(1), self.sink(2)]})
        server = self.start()
        first, second = server.main.sinks
        closed: list[object] = []
        self.patch(second, "close", lambda: closed.append(second))
        done = self.reload(server, more={"stats_sinks": [self.sink(3), self.sink(1)]})
        self.assertEqual(Verdict.APPLIED, done.verdict, done.errors)
        self.assertIs(first, server.main.sinks[1])
        self.assertEqual([second], closed)

    def test_equal_sinks(self) -> None:
        """Two that are equal are two."""
        self.put(more={"stats_sinks": [self.sink(1)]})
        server = self.start()
        self.reload(server, more={"stats_sinks": [self.sink(1), self.sink(1)]})
        first, second = server.main.sinks
        self.assertIsNot(first, second)

    def test_admin_log(self) -> None:
        """An access log of the admin interface that cannot be opened keeps all from being applied;
        what it lets through is others at once.
        """
        at = {"address": address("127.0.0.1:0")}
        self.put(clusters=[cluster("a")], more={"admin": at})
        server = self.start()
        site: Any = server.getServiceNamed("admin")
        log = {"name": "f", "typed_config": {"@type": FILE_LOG, "path": "/none/at/all.log"}}
        more = {"admin": {**at, "access_log": [log]}}
        done = self.reload(server, clusters=[cluster("b")], more=more)
        self.assertEqual(Verdict.REFUSED, done.verdict)
        self.assertIn("/none/at/all.log", done.errors[0])
        self.assertEqual(["a"], [each.name for each in server.cluster_statuses()])
        path = str(self.path.with_suffix(".log"))
        log["typed_config"]["path"] = path  # type: ignore[index]
        more = {"admin": {**at, "access_log": [log], "allow_paths": [{"exact": "/ready"}]}}
        done = self.reload(server, clusters=[cluster("a")], more=more)
        self.assertEqual(Verdict.APPLIED, done.verdict, done.errors)
        self.assertTrue(Path(path).exists())
        kept = site._access_logs
        del more["admin"]["allow_paths"]
        self.reload(server, clusters=[cluster("a")], more=more)
        self.assertIs(kept, site._access_logs)
        more["admin"]["allow_paths"] = [{"exact": "/ready"}]
        self.reload(server, clusters=[cluster("a")], more=more)
        guard = site.site._pages.guard
        guard.check_path("/ready", "")
        self.assertRaises(Refusal, guard.check_path, "/stats", "")


class DiscoveredTests(ReloadTestCase):
    """What a file of discovery has."""

    def test_names(self) -> None:
        """A cluster of the bootstrap's own wins over one of its name, which is there again when it
        has gone.
        """
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        path = f"{folder}/c.json"
        more = {
            "node": {"id": "n", "cluster": "c"},
            "dynamic_resources": {"cds_config": {"path_config_source": {"path": path}}},
        }
        resources = [{"@type": TYPE + CLUSTER, **cluster(name)} for name in ("x", "y")]
        (folder / "c.json").write_text(json.dumps({"version_info": "1", "resources": resources}))
        self.put(clusters=[cluster("a")], more=more)
        server = self.start()
        self.assertEqual({"a": False, "x": True, "y": True}, self.via_api(server))
        done = self.reload(server, clusters=[cluster("a"), cluster("x", "127.0.0.2:2")], more=more)
        self.assertEqual(["cluster x added"], list(map(str, done.changes)))
        self.assertEqual({"a": False, "x": False, "y": True}, self.via_api(server))
        self.assertEqual(["y"], [each.message.name for each in server.dynamic_clusters().statuses])
        self.reload(server, clusters=[cluster("a")], more=more)
        self.assertEqual({"a": False, "x": True, "y": True}, self.via_api(server))
        # The same message is only another's.
        self.reload(server, clusters=[cluster("a"), cluster("y")], more=more)
        self.assertEqual({"a": False, "x": True, "y": False}, self.via_api(server))
        self.reload(server, clusters=[], more=more)
        self.assertEqual({"x": True, "y": True}, self.via_api(server))

    def via_api(self, server: Server) -> dict[str, bool]:
        """Which clusters there are, and whether discovery has brought them."""
        self.network.pump()
        return {each.name: each.added_via_api for each in server.cluster_statuses()}


class WarmingTests(ReloadTestCase):
    """Clusters that have to find something out first."""

    def setUp(self) -> None:
        """A cluster whose only host never answers its checks, which take a while to say so."""
        super().setUp()
        self.network.silent.add(address_of("127.0.0.9:9"))
        self.put(clusters=[cluster("a")])
        self.server = self.start()

    def slow(self, timeout: str) -> dict[str, Any]:
        """It, with checks that may take so long."""
        check = {
            "timeout": timeout,
            "interval": "600s",
            "unhealthy_threshold": 1,
            "healthy_threshold": 1,
            "tcp_health_check": {},
        }
        return cluster("slow", "127.0.0.9:9", health_checks=[check])

    def test_waits(self) -> None:
        """Listeners wait for them."""
        self.put(clusters=[self.slow("5s")], listeners=[listener("l", "127.0.0.1:1", "slow")])
        waiting = self.server.reloads.reload("signal")
        self.network.advance(4)
        self.assertNoResult(waiting)
        self.assertFalse(self.is_open("127.0.0.1:1"))
        self.network.advance(2)
        self.assertEqual(Verdict.APPLIED, self.done(waiting).verdict)
        self.assertTrue(self.is_open("127.0.0.1:1"))

    def test_not_for_ever(self) -> None:
        """But not for ever."""
        self.put(clusters=[self.slow("500s")], listeners=[listener("l", "127.0.0.1:1", "slow")])
        waiting = self.server.reloads.reload("signal")
        self.network.advance(WARMING - 1)
        self.assertNoResult(waiting)
        self.network.advance(2)
        self.assertEqual(Verdict.APPLIED, self.done(waiting).verdict)
        self.assertTrue(self.is_open("127.0.0.1:1"))

    def test_stopped(self) -> None:
        """A proxy that stops meanwhile leaves no timer behind."""
        self.put(clusters=[self.slow("500s")])
        waiting = self.server.reloads.reload("signal")
        self.network.pump()
        self.server.stopService()
        self.network.pump()
        self.assertEqual([], self.network.clock.getDelayedCalls())
        self.assertEqual(Verdict.UNTIMELY, self.done(waiting).verdict)


class ChainTests(ReloadTestCase):
    """A listener of many filter chains."""

    def listener(self, count: int, name: str) -> dict[str, Any]:
        """One that has so many, whose clients bring the names of servers."""
        found = listener("l", "127.0.0.1:1")
        (chain,) = found["filter_chains"]
        found["filter_chains"] = [
            {"name": f"{name}{i}", "filter_chain_match": {"server_names": [f"{name}{i}.test"]}}
            | chain
            for i in range(count)
        ]
        inspector = {"@type": f"{TYPE}envoy.extensions.filters.listener.tls_inspector.v3."}
        inspector["@type"] += "TlsInspector"
        return found | {"listener_filters": [{"name": "tls", "typed_config": inspector}]}

    def test_built_ahead(self) -> None:
        """What is new of them, for a new listener or one that stays, is built before that is added
        or changed.
        """
        few = {"clusters": [cluster("a")], "listeners": []}
        self.put(**few)
        server = self.start()
        ahead: list[tuple[type, int | None]] = []
        told = server.main.listeners._send

        def noted(message: Any) -> None:
            if isinstance(message, AddListener | UpdateChains):
                ahead.append((type(message), None))
            elif isinstance(message, BuildAhead):
                count = len(message.message.filter_chains) if message.come is None else None
                ahead.append((BuildAhead, count or len(message.come or ())))
            told(message)

        self.patch(server.main.listeners, "_send", noted)
        for wanted, name in ((AddListener, "a"), (UpdateChains, "b")):
            few["listeners"] = [self.listener(MANY + 1, name)]
            self.assertEqual(Verdict.APPLIED, self.reload(server, **few).verdict)
            self.assertEqual([(BuildAhead, MANY + 1), (wanted, None)], ahead)
            ahead.clear()
