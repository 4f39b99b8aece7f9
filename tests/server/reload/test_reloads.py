"""A configuration takes the place of another while a proxy serves."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from zope.interface.verify import verifyObject

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.load import load
from tcpmesh.config.rules.deprecated import DEPRECATED
from tcpmesh.interfaces import IReloads
from tcpmesh.logs.levels import Levels
from tcpmesh.server.reload.reloads import LOGGED
from tcpmesh.server.reload.source import TOLD
from tcpmesh.server.service import Server
from tcpmesh.testing.harness import Client
from tcpmesh.testing.harness import Server as Upstream
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.testing.mesh import address_of, values_of
from tcpmesh.testing.recording import RecordingProtocol
from tcpmesh.values.drain import DrainScope
from tcpmesh.values.lifecycle.reload import Reloaded, Verdict
from tcpmesh.values.server_options import ServerOptions
from tests.told import told_in

PROXY = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
FILE_LOG = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"


def address(text: str) -> dict[str, Any]:
    """An address as JSON has it."""
    host, _, port = text.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


def cluster(name: str, host: str = "127.0.0.2:1", **more: Any) -> dict[str, Any]:
    """A cluster of one host."""
    group = {"lb_endpoints": [{"endpoint": {"address": address(host)}}]}
    assignment = {"cluster_name": name, "endpoints": [group]}
    return {"name": name, "load_assignment": assignment, **more}


def listener(name: str, at: str, to: str = "a", log: str = "", **more: Any) -> dict[str, Any]:
    """A listener with a tcp_proxy."""
    config: dict[str, Any] = {"@type": PROXY, "stat_prefix": "t", "cluster": to}
    if log:
        config["access_log"] = [{"name": "f", "typed_config": {"@type": FILE_LOG, "path": log}}]
    filters = [{"name": "t", "typed_config": config}]
    return {"name": name, "address": address(at), "filter_chains": [{"filters": filters}], **more}


class ReloadTestCase(SynchronousTestCase):
    """A server on a memory network, and its file."""

    def setUp(self) -> None:
        """Two hosts, and nothing served."""
        self.path = Path(self.mktemp()).absolute()
        self.network = MemoryNetwork(MemoryReactorClock())
        self.upstreams = {}
        for number in (1, 2):
            host = f"127.0.0.2:{number}"
            self.upstreams[host] = Upstream()
            self.network.listen(self.network.bind(address_of(host)), self.upstreams[host])

    def put(self, **static: Any) -> None:
        """The file has these lists of resources; `more` is what is beside them."""
        more = static.pop("more", {})
        text = json.dumps({"static_resources": static, **more}, indent=1)
        self.path.with_suffix(".json").write_text(text)

    def start(self, **options: Any) -> Server:
        """A server of the file."""
        path = str(self.path.with_suffix(".json"))
        bootstrap = load(path, options.get("config_yaml", "")).bootstrap
        made = ServerOptions(config_path=path, **options)
        server = Server(Clock(), bootstrap, made, Levels("info", {}), self.network)
        server.startService()
        self.network.pump()
        self.addCleanup(server.stopService)
        return server

    def done(self, waiting: Deferred[Reloaded]) -> Reloaded:
        """What has come of a reload."""
        self.network.pump()
        return self.successResultOf(waiting)

    def reload(self, server: Server, **static: Any) -> Reloaded:
        """Put another file there and have it read."""
        self.put(**static)
        return self.done(server.reloads.reload("request"))

    def connect(self, at: str) -> RecordingProtocol:
        """A client that is connected."""
        factory = Client(RecordingProtocol())
        self.network.connect(address_of(at), factory, 10.0)
        self.network.pump()
        self.assertTrue(factory.connected, at)
        given: RecordingProtocol = factory.given
        return given

    def is_open(self, at: str) -> bool:
        """Whether anybody accepts clients there."""
        return self.network.failure_of(address_of(at), None) is None


class LoggedTests(ReloadTestCase):
    """What the log is told of a reload."""

    def setUp(self) -> None:
        """Nothing is served, and the log is heard."""
        super().setUp()
        self.put(listeners=[], clusters=[])
        self.server = self.start()
        self.told = told_in(self, "config")

    def lines_of(self, count: int) -> list[str]:
        """What is told where so many clusters are added, without warnings."""
        del self.told.lines[:]
        clusters = [cluster(f"c{number}") for number in range(count)]
        self.assertEqual(Verdict.APPLIED, self.reload(self.server, clusters=clusters).verdict)
        return [line for line in self.told.lines if ": warning: " not in line]

    def test_one(self) -> None:
        """One change is one line beside that for the whole."""
        expected = ["configuration 2 is served (request), with 1 change", "cluster c0 added"]
        self.assertEqual(expected, self.lines_of(1))

    def test_many(self) -> None:
        """Of many changes and many warnings some are told, and how many more there are."""
        lines = self.lines_of(LOGGED + 7)
        self.assertEqual("... and 8 more", lines[0], "of the warnings")
        self.assertEqual("configuration 2 is served (request), with 107 changes", lines[1])
        self.assertEqual([LOGGED, "... and 7 more"], [len(lines[2:-1]), lines[-1]])

    def test_deprecated(self) -> None:
        """Warnings of deprecated fields, and no others, are left out where the command line says
        so.
        """
        old = cluster("c", dns_refresh_rate="5s")
        for skips in (False, True):
            server = self.start(skip_deprecated_logs=skips)
            warnings = self.reload(server, clusters=[old]).warnings
            self.assertEqual(not skips, any(DEPRECATED in each for each in warnings))
            self.assertTrue(any("nothing sends anybody" in each for each in warnings))
            self.put(listeners=[], clusters=[])

    def test_many_errors(self) -> None:
        """Of many errors, too: of those that are told, which are not all."""
        wrong = [cluster(f"c{number}", nope=1) for number in range(TOLD + 5)]
        done = self.reload(self.server, clusters=wrong)
        self.assertEqual([TOLD + 1, "... and 5 more"], [len(done.errors), done.errors[-1]])
        self.assertEqual(
            [LOGGED + 2, "... and 100 more"], [len(self.told.lines), self.told.lines[-1]]
        )


class AppliedTests(ReloadTestCase):
    """What can be had."""

    def setUp(self) -> None:
        """A listener and a cluster."""
        super().setUp()
        self.put(listeners=[listener("l", "127.0.0.1:1")], clusters=[cluster("a")])
        self.server = self.start()

    def test_interface(self) -> None:
        """It is what the admin interface asks."""
        verifyObject(IReloads, self.server.reloads)

    def test_nothing(self) -> None:
        """A file that is as before changes nothing."""
        done = self.done(self.server.reloads.reload("signal"))
        self.assertEqual((Verdict.UNCHANGED, 1, ()), (done.verdict, done.number, done.changes))

    def test_applied(self) -> None:
        """Listeners and clusters come, change and go, and what did not change is not touched."""
        old = self.connect("127.0.0.1:1")
        sockets = dict(self.network.ports)
        done = self.reload(
            self.server,
            listeners=[listener("l", "127.0.0.1:1"), listener("m", "127.0.0.1:2", "b")],
            clusters=[cluster("a"), cluster("b", "127.0.0.2:2")],
        )
        self.assertEqual(Verdict.APPLIED, done.verdict, done.errors)
        self.assertEqual(["listener m added", "cluster b added"], list(map(str, done.changes)))
        self.assertEqual(2, done.number)
        self.connect("127.0.0.1:2")
        self.assertEqual(1, len(self.upstreams["127.0.0.2:2"].built))
        self.assertIs(
            sockets[address_of("127.0.0.1:1")], self.network.ports[address_of("127.0.0.1:1")]
        )
        self.assertEqual(0, values_of(self.server.store)["listener_manager.listener_modified"])
        self.assertEqual("m", self.server.bootstrap.static_resources.listeners[1].name)
        self.assertFalse(old.ended)
        done = self.reload(self.server, listeners=[], clusters=[])
        self.assertEqual(Verdict.APPLIED, done.verdict)
        self.assertEqual([], self.server.listener_statuses())
        self.assertEqual([], list(self.server.cluster_statuses()))
        self.assertFalse(self.is_open("127.0.0.1:1"))
        self.assertFalse(old.ended, "its client has the drain time")
        self.network.advance(601)
        self.assertTrue(old.ended)

    def test_chains(self) -> None:
        """A listener that differs in its chains alone keeps its socket."""
        port = self.network.ports[address_of("127.0.0.1:1")]
        done = self.reload(
            self.server,
            listeners=[listener("l", "127.0.0.1:1", "b")],
            clusters=[cluster("b", "127.0.0.2:2")],
        )
        self.assertEqual(Verdict.APPLIED, done.verdict, done.errors)
        self.assertIs(port, self.network.ports[address_of("127.0.0.1:1")])
        self.connect("127.0.0.1:1")
        self.assertEqual(1, len(self.upstreams["127.0.0.2:2"].built))

    def test_another_name(self) -> None:
        """A listener of another name may take the address of one that goes, and two may swap."""
        done = self.reload(
            self.server, listeners=[listener("m", "127.0.0.1:1")], clusters=[cluster("a")]
        )
        self.assertEqual(Verdict.APPLIED, done.verdict, done.errors)
        self.assertEqual(["m"], [each.name for each in self.server.listener_statuses()])
        self.connect("127.0.0.1:1")
        both = [listener("m", "127.0.0.1:1"), listener("n", "127.0.0.1:2")]
        self.reload(self.server, listeners=both, clusters=[cluster("a")])
        swapped = [listener("m", "127.0.0.1:2"), listener("n", "127.0.0.1:1")]
        done = self.reload(self.server, listeners=swapped, clusters=[cluster("a")])
        self.assertEqual(Verdict.APPLIED, done.verdict, done.errors)
        told = {each.name: each.addresses for each in self.server.listener_statuses()}
        self.assertEqual({"m": ("127.0.0.1:2",), "n": ("127.0.0.1:1",)}, told)
        self.connect("127.0.0.1:1")
        self.connect("127.0.0.1:2")

    def test_no_name(self) -> None:
        """A listener without name is known by its address, and changed and removed by it."""
        self.reload(self.server, listeners=[listener("", "127.0.0.1:5")], clusters=[cluster("a")])
        done = self.reload(
            self.server,
            listeners=[listener("", "127.0.0.1:5", "b")],
            clusters=[cluster("b", "127.0.0.2:2")],
        )
        self.assertTrue(str(done.changes[0]).startswith("listener (127.0.0.1:5) changed: "))
        self.connect("127.0.0.1:5")
        self.assertEqual(1, len(self.upstreams["127.0.0.2:2"].built))
        self.reload(self.server, listeners=[], clusters=[])
        self.assertEqual([], self.server.listener_statuses())

    def test_order(self) -> None:
        """They are shown in the order of the configuration."""
        self.reload(
            self.server,
            listeners=[listener("x", "127.0.0.1:5"), listener("l", "127.0.0.1:1")],
            clusters=[cluster("z"), cluster("a")],
        )
        self.assertEqual(["x", "l"], [each.name for each in self.server.listener_statuses()])
        self.assertEqual(["z", "a"], [each.name for each in self.server.cluster_statuses()])

    def test_dry_run(self) -> None:
        """Only the difference is told, and nothing changes."""
        self.put(listeners=[], clusters=[cluster("a")])
        done = self.done(self.server.reloads.reload("request", dry_run=True))
        self.assertEqual(Verdict.SHOWN, done.verdict)
        self.assertEqual(["listener l removed"], list(map(str, done.changes)))
        self.assertTrue(self.is_open("127.0.0.1:1"))
        self.assertEqual(0, self.stat("attempt"))

    def stat(self, name: str) -> int:
        """A statistic of reloads."""
        return values_of(self.server.store)[f"tcpmesh.reload.{name}"]

    def test_statistics(self) -> None:
        """What has come of reloads is counted."""
        self.reload(self.server, listeners=[], clusters=[cluster("a")])
        self.reload(self.server, listeners=[], clusters=[{}])
        found = [self.stat(name) for name in ("attempt", "success", "rejected", "number")]
        self.assertEqual([2, 1, 1, 2], found)
        self.assertTrue(self.stat("version"))
        self.assertTrue(self.stat("time_ms"))

    def test_settings(self) -> None:
        """Runtime values, and what the statistics say of the version, are others at once."""
        more = {
            "stats_server_version_override": 7,
            "stats_flush_interval": "1s",
            "layered_runtime": {"layers": [{"name": "s", "static_layer": {"x": 1}}]},
        }
        done = self.reload(
            self.server,
            listeners=[listener("l", "127.0.0.1:1")],
            clusters=[cluster("a")],
            more=more,
        )
        self.assertEqual(Verdict.APPLIED, done.verdict, done.errors)
        self.assertEqual(7, values_of(self.server.store)["server.version"])
        self.assertEqual("1", self.server.runtime_layers()[0][1]["x"].text)
        self.assertEqual(3, len(done.changes))


class RefusedTests(ReloadTestCase):
    """What cannot be had changes nothing."""

    def setUp(self) -> None:
        """A listener and a cluster."""
        super().setUp()
        self.good = {"listeners": [listener("l", "127.0.0.1:1")], "clusters": [cluster("a")]}
        self.put(**self.good)
        self.server = self.start()

    def refused(self, *words: str, **static: Any) -> Reloaded:
        """Such a file is refused, with these words."""
        before = self.server.bootstrap
        counts = self.counts()
        done = self.reload(self.server, **static)
        self.assertEqual(Verdict.REFUSED, done.verdict, done)
        for word in words:
            self.assertIn(word, "\n".join(done.errors))
        self.assertIs(before, self.server.bootstrap)
        self.assertEqual(1, done.number)
        self.assertEqual(["l"], [each.name for each in self.server.listener_statuses()])
        self.assertEqual(["a"], [each.name for each in self.server.cluster_statuses()])
        self.connect("127.0.0.1:1")
        self.assertEqual(counts, self.counts())
        return done

    def counts(self) -> dict[str, int]:
        """What managers have counted of changes."""
        return {
            name: value
            for name, value in values_of(self.server.store).items()
            if name.startswith(("listener_manager.", "cluster_manager.")) and "cx" not in name
        }

    def test_wrong(self) -> None:
        """A file that is wrong is told of with its lines."""
        done = self.refused("clusters[0].name", listeners=[], clusters=[{"name": ""}])
        self.assertIn(f"{self.path.with_suffix('.json')}:", done.errors[0])

    def test_no_json(self) -> None:
        """So is one that is no text of that kind, or is not there."""
        self.path.with_suffix(".json").write_text("{")
        done = self.done(self.server.reloads.reload("signal"))
        self.assertEqual(Verdict.REFUSED, done.verdict)
        self.path.with_suffix(".json").unlink()
        done = self.done(self.server.reloads.reload("signal"))
        self.assertIn("cannot read the configuration", done.errors[0])

    def test_pipe(self) -> None:
        """A pipe in its place is refused, whether anybody writes to it or not."""
        path = self.path.with_suffix(".json")
        path.unlink()
        os.mkfifo(path)
        done = self.done(self.server.reloads.reload("signal"))
        self.assertIn("it is no file", done.errors[0])

    def test_settled(self) -> None:
        """What cannot change while it runs is named, and nothing of the rest is applied."""
        more = {"node": {"id": "x"}}
        self.refused("node", "it cannot change", listeners=[], clusters=[cluster("b")], more=more)

    def test_address(self) -> None:
        """An address that somebody else has is found before anything is applied."""
        self.refused(
            "static_resources.listeners[1]: cannot bind '127.0.0.2:1'",
            listeners=[listener("l", "127.0.0.1:3", "b"), listener("m", "127.0.0.2:1")],
            clusters=[cluster("b")],
        )

    def test_access_log(self) -> None:
        """So is an access log that cannot be opened."""
        log = f"{self.path}/none/access.log"
        self.refused(
            "static_resources.listeners[0]",
            log,
            listeners=[listener("l", "127.0.0.1:1", log=log)],
            clusters=[cluster("a")],
        )

    def test_put_back(self) -> None:
        """What turns out to be impossible on the way is put back."""
        taken = address_of("127.0.0.1:9")
        bind = self.network.bind
        tried: list[object] = []

        def taken_meanwhile(address: Any, options: Any = None) -> Any:
            if address == taken:
                tried.append(address)
                if len(tried) == 2:
                    bind(taken)
            return bind(address, options)

        self.patch(self.network, "bind", taken_meanwhile)
        old = self.connect("127.0.0.1:1")
        done = self.reload(
            self.server,
            listeners=[
                listener("l", "127.0.0.1:1", "b"),
                listener("k", "127.0.0.1:8", "b"),
                listener("m", "127.0.0.1:9", "b"),
            ],
            clusters=[cluster("b", "127.0.0.2:2"), cluster("a", "127.0.0.2:2")],
        )
        self.assertEqual(Verdict.REFUSED, done.verdict, done)
        self.assertIn("cannot bind '127.0.0.1:9'", done.errors[0])
        self.assertEqual(["l"], [each.name for each in self.server.listener_statuses()])
        self.assertEqual(["a"], [each.name for each in self.server.cluster_statuses()])
        self.assertFalse(self.is_open("127.0.0.1:8"))
        self.connect("127.0.0.1:1")
        self.assertEqual([], self.upstreams["127.0.0.2:2"].built)
        self.assertFalse(old.ended)


class BrokenTests(ReloadTestCase):
    """Faults of ours, or of an extension, that nobody could know of."""

    def setUp(self) -> None:
        """A listener and a cluster, and a step that fails."""
        super().setUp()
        self.put(listeners=[listener("l", "127.0.0.1:1")], clusters=[cluster("a")])
        self.server = self.start()
        add = self.server.main.listeners.add_or_update

        def fail(message: Any, *args: Any, **kwargs: Any) -> bool:
            if message.name == "m":
                raise ZeroDivisionError("a fault")
            return add(message, *args, **kwargs)

        self.patch(self.server.main.listeners, "add_or_update", fail)
        self.listeners = [listener("l", "127.0.0.1:1", "b"), listener("m", "127.0.0.1:2")]

    def test_put_back(self) -> None:
        """All is put back, and the log has the traceback."""
        done = self.reload(self.server, listeners=self.listeners, clusters=[cluster("b")])
        self.assertEqual(Verdict.REFUSED, done.verdict)
        self.assertEqual(("ZeroDivisionError: a fault",), done.errors)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.assertEqual(["a"], [each.name for each in self.server.cluster_statuses()])
        self.connect("127.0.0.1:1")
        self.assertEqual(1, len(self.upstreams["127.0.0.2:1"].built))

    def test_cannot_put_back(self) -> None:
        """What cannot be put back is told, and the rest is."""

        def fail(name: str) -> None:
            raise KeyError(name)

        self.patch(self.server.main.clusters, "remove", fail)
        done = self.reload(self.server, listeners=self.listeners, clusters=[cluster("b")])
        self.assertEqual(Verdict.FAILED, done.verdict)
        self.assertEqual(("ZeroDivisionError: a fault", "KeyError: 'b'"), done.errors)
        self.assertEqual(2, len(self.flushLoggedErrors(ZeroDivisionError, KeyError)))
        self.connect("127.0.0.1:1")
        self.assertEqual(1, len(self.upstreams["127.0.0.2:1"].built))


class ArgumentTests(ReloadTestCase):
    """What the command line says of the configuration."""

    def test_merged(self) -> None:
        """`--config-yaml` is merged over the file, as at the start."""
        self.put(clusters=[cluster("a")])
        more = json.dumps({"static_resources": {"clusters": [cluster("more")]}})
        server = self.start(config_yaml=more)
        self.reload(server, clusters=[cluster("b")])
        self.assertEqual(["b", "more"], [each.name for each in server.cluster_statuses()])

    def test_worker_that_begins(self) -> None:
        """A worker that begins later is told what holds now."""
        self.put(clusters=[cluster("a")])
        server = self.start()
        done = self.reload(
            server,
            clusters=[cluster("a")],
            more={"layered_runtime": {"layers": [{"name": "s", "static_layer": {"x": 1}}]}},
        )
        self.assertEqual(Verdict.APPLIED, done.verdict, done.errors)
        self.assertEqual("1", dict(server.main.begin(1).runtime)["x"].text)


class UntimelyTests(ReloadTestCase):
    """Not now."""

    def setUp(self) -> None:
        """A server."""
        super().setUp()
        self.put(listeners=[listener("l", "127.0.0.1:1")], clusters=[cluster("a")])

    def untimely(self, server: Server, words: str) -> None:
        """It is told so."""
        self.put(listeners=[], clusters=[])
        done = self.done(server.reloads.reload("request"))
        self.assertEqual(Verdict.UNTIMELY, done.verdict)
        self.assertIn(words, done.errors[0])

    def test_draining(self) -> None:
        """A proxy that drains is left alone."""
        server = self.start()
        server.drain_listeners(DrainScope.ALL, is_graceful=True)
        self.untimely(server, "drains")

    def test_failing(self) -> None:
        """So is one that fails its health checks."""
        server = self.start()
        server.fail_health_checks(True)
        self.untimely(server, "/healthcheck/ok")
        server.fail_health_checks(False)
        self.assertEqual(Verdict.APPLIED, self.done(server.reloads.reload("request")).verdict)

    def test_stopped(self) -> None:
        """So is one that stops, or does not serve yet."""
        server = self.start()
        server.stopService()
        self.untimely(server, "stops")
        path = str(self.path.with_suffix(".json"))
        other = Server(Clock(), load(path).bootstrap, ServerOptions(), Levels("info", {}))
        done = self.successResultOf(other.reloads.reload("signal"))
        self.assertIn("not serve yet", done.errors[0])

    def test_several(self) -> None:
        """A second one waits, and a third is told so."""
        server = self.start()
        self.put(listeners=[], clusters=[cluster("a")])
        first, second = (server.reloads.reload("signal") for _ in range(2))
        third = self.successResultOf(server.reloads.reload("signal"))
        self.assertEqual(Verdict.UNTIMELY, third.verdict)
        self.assertEqual(Verdict.APPLIED, self.done(first).verdict)
        self.assertEqual(Verdict.UNCHANGED, self.done(second).verdict)
        self.assertEqual(Verdict.UNCHANGED, self.done(server.reloads.reload("signal")).verdict)

    def test_no_file(self) -> None:
        """Where there was no file, there is nothing to read again."""
        server = self.start()
        server.reloads._source._options = ServerOptions()
        done = self.done(server.reloads.reload("request"))
        self.assertEqual(Verdict.REFUSED, done.verdict)
        self.assertIn("without a file", done.errors[0])

    def test_stop_meanwhile(self) -> None:
        """A proxy may stop while it is reloaded."""
        server = self.start()
        self.put(listeners=[], clusters=[cluster(f"c{i}") for i in range(50)])
        waiting = server.reloads.reload("signal")
        self.assertNoResult(waiting)
        server.stopService()
        done = self.done(waiting)
        self.assertEqual(Verdict.UNTIMELY, done.verdict)


class RollbackTests(ReloadTestCase):
    """An earlier configuration is served again."""

    def test_rollback(self) -> None:
        """The one before, or one by its number; it is one more in the history."""
        self.put(listeners=[listener("l", "127.0.0.1:1")], clusters=[cluster("a")])
        server = self.start()
        self.reload(server, listeners=[], clusters=[cluster("a")])
        self.reload(server, listeners=[], clusters=[])
        done = self.done(server.reloads.rollback())
        self.assertEqual((Verdict.APPLIED, 4), (done.verdict, done.number), done.errors)
        self.assertEqual(["a"], [each.name for each in server.cluster_statuses()])
        done = self.done(server.reloads.rollback(1))
        self.assertEqual((Verdict.APPLIED, 5), (done.verdict, done.number))
        self.assertTrue(self.is_open("127.0.0.1:1"))
        told = self.successResultOf(server.reloads.history())
        self.assertEqual(
            ["start", "request", "request", "rollback to 2", "rollback to 1"],
            [each.by for each in told],
        )
        self.assertEqual(told[0].version, told[4].version)
        self.assertEqual(told[1].version, told[3].version)
        self.assertNotEqual(told[0].version, told[1].version)

    def test_none(self) -> None:
        """There may be none to go back to, or none of this number."""
        self.put(listeners=[listener("l", "127.0.0.1:1")], clusters=[cluster("a")])
        server = self.start()
        done = self.done(server.reloads.rollback())
        self.assertEqual(Verdict.REFUSED, done.verdict)
        self.assertEqual(("there is no configuration to go back to",), done.errors)
        for number, words in ((1, "is the one"), (7, "is not kept; there are: none")):
            self.assertIn(words, self.done(server.reloads.rollback(number)).errors[0])

    def test_ten(self) -> None:
        """The last ten are kept."""
        self.put(listeners=[], clusters=[cluster("a")])
        server = self.start()
        for number in range(12):
            self.reload(server, listeners=[], clusters=[cluster(f"c{number}")])
        told = self.successResultOf(server.reloads.history())
        self.assertEqual(list(range(4, 14)), [each.number for each in told])
        self.assertEqual(Verdict.REFUSED, self.done(server.reloads.rollback(3)).verdict)
        self.assertEqual(Verdict.APPLIED, self.done(server.reloads.rollback(4)).verdict)

    def test_version(self) -> None:
        """The version of the first one is known without a reload too."""
        self.put(listeners=[], clusters=[cluster("a")])
        told = self.successResultOf(self.start().reloads.history())
        self.assertEqual(16, len(told[0].version))
