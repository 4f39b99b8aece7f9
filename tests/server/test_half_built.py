"""What cannot be built to its end leaves nothing behind: every call that building makes is let fail
once.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from types import CodeType, FrameType
from typing import Any
from unittest import skipUnless

from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.core.v3 import base_pb2

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tcpmesh.config.load import load
from tcpmesh.net.clock import MonotonicReactor
from tcpmesh.net.stock.network import StockNetwork
from tcpmesh.server.assembly import Assembled, assemble
from tcpmesh.stats.store import Store
from tcpmesh.testing.child import free_port
from tests.integration.embedded import CARES, FILTERS, address, endpoint, unanswering

ROOT = str(Path(__file__).resolve().parents[2] / "tcpmesh")
POLICIES = "type.googleapis.com/envoy.extensions.load_balancing_policies"
LOGGERS = "type.googleapis.com/envoy.extensions.access_loggers"
SINKS = "type.googleapis.com/envoy.extensions.health_check.event_sinks"

INNER = ("facts", "stats", "values", "logs", "server/link")
"""What is left alone: it changes nothing but memory of its own, or takes back what others did.  So
are the classes that only name statistics."""


COMPREHENSIONS = ("<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>")
"""Of functions that are let fail as a whole."""


BESIDE = (
    "stop",
    "close",
    "release",
    "_close",
    "_drain",
    "_remove",
    "_withdraw",
    "_ended",
    "_count",
    "_cancelled",
    "resolve",
)
"""What gives back what was built before, or what is replaced, as a timer for which a sooner one was
made; and what is begun by what is built, but has an end of its own.
"""

SHARED = ("cluster_manager.", "dns.cares.", "downstream_cx_proxy_proto_error")
"""Statistics of the process, that whoever is first makes."""


class Injected(Exception):
    """A call that was let fail."""


@cache
def file_of(code: CodeType) -> str:
    """The file of a function that may be let fail; empty for any other."""
    file = code.co_filename
    if not file.startswith(ROOT) or code.co_name in COMPREHENSIONS:
        return ""
    file = file[len(ROOT) + 1 :]
    return "" if file.startswith(INNER) else file


@contextmanager
def failing(number: int) -> Iterator[list[str]]:
    """Let the call with this number fail, of those that product code makes meanwhile, from 0 on.

    :return: the function that failed; empty where there are not so many.
    """
    left, failed = number, []
    beside: FrameType | None = None
    """The call of what is no building that is under way: what it calls is a part of it."""

    def call(frame: FrameType, event: str, argument: object) -> None:
        nonlocal left, beside
        if beside is not None:
            if frame is beside and event == "return":
                beside = None
            return
        if event != "call":
            return
        name = frame.f_code.co_name
        if name in BESIDE:
            beside = frame
            return
        file = file_of(frame.f_code)
        if not file:
            return
        owner = type(frame.f_locals.get("self")).__name__
        if owner.endswith("Stats"):
            return
        left -= 1
        if left < 0:
            sys.setprofile(None)
            failed.append(f"{file}: {owner} {name}")
            raise Injected(failed[0])

    sys.setprofile(call)
    try:
        yield failed
    finally:
        sys.setprofile(None)


LISTENER = """
name: l
address: {pipe: {path: %(folder)s/l.sock, mode: 384}}
additional_addresses: [{address: %(port)s}, {address: {pipe: {path: %(folder)s/m.sock}}}]
enable_reuse_port: false
access_log:
- {name: a, typed_config: {"@type": %(loggers)s.file.v3.FileAccessLog, path: %(folder)s/c.log}}
- {name: b, typed_config: {"@type": %(loggers)s.file.v3.FileAccessLog, path: %(folder)s/d.log}}
listener_filters:
- {name: p, typed_config: {"@type": %(filters)s.listener.proxy_protocol.v3.ProxyProtocol}}
- name: o
  typed_config: {"@type": %(filters)s.listener.original_dst.v3.OriginalDst}
  filter_disabled: {destination_port_range: {start: 1, end: 2}}
filter_chains:
- transport_socket:
    name: r
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer
  filters:
  - name: s
    typed_config:
      "@type": %(filters)s.network.set_filter_state.v3.Config
      on_new_connection:
      - object_key: envoy.tcp_proxy.cluster
        format_string: {text_format_source: {inline_string: "c%%START_TIME%%"}}
  - name: c
    typed_config:
      "@type": %(filters)s.network.connection_limit.v3.ConnectionLimit
      stat_prefix: c
      max_connections: 1
      delay: 1s
  - name: t
    typed_config:
      "@type": %(filters)s.network.tcp_proxy.v3.TcpProxy
      stat_prefix: t
      cluster: c
      hash_policy: [{source_ip: {}}]
      backoff_options: {base_interval: 1s}
      max_connect_attempts: 2
      access_log_options: {access_log_flush_interval: 1s}
      access_log:
      - name: a
        typed_config:
          "@type": %(loggers)s.file.v3.FileAccessLog
          path: %(folder)s/c.log
          json_format: {a: "%%BYTES_SENT%%"}
      - {name: b, typed_config: {"@type": %(loggers)s.stream.v3.StdoutAccessLog}}
"""

CHECKED = """
name: c
load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [%(host)s, %(host)s]}]}
upstream_bind_config: {source_address: {address: 127.0.0.1, port_value: 0}}
preconnect_policy: {predictive_preconnect_ratio: 2}
track_cluster_stats: {per_endpoint_stats: true}
circuit_breakers: {per_host_thresholds: [{max_connections: 3}]}
health_checks:
- name: a
  timeout: 900s
  interval: 900s
  unhealthy_threshold: 1
  healthy_threshold: 1
  tcp_health_check: {send: {text: "50"}, receive: [{text: "51"}]}
  event_log_path: %(folder)s/a.log
- name: b
  timeout: 900s
  interval: 900s
  unhealthy_threshold: 1
  healthy_threshold: 1
  http_health_check: {path: /}
  event_logger:
  - name: f
    typed_config:
      "@type": %(sinks)s.file.v3.HealthCheckEventFileSink
      event_log_path: %(folder)s/b.log
outlier_detection: {}
load_balancing_policy:
  policies:
  - typed_extension_config:
      name: s
      typed_config:
        "@type": %(policies)s.subset.v3.Subset
        fallback_policy: ANY_ENDPOINT
        subset_selectors: [{keys: [a]}]
        subset_lb_policy:
          policies:
          - typed_extension_config:
              name: m
              typed_config:
                "@type": %(policies)s.ring_hash.v3.RingHash
"""

NAMED = """
name: c
type: STRICT_DNS
load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [%(name)s]}]}
dns_failure_refresh_rate: {base_interval: 1s}
typed_dns_resolver_config:
  {name: cares, typed_config: {"@type": %(cares)s, resolvers: [%(dns)s]}}
"""

NAMING = """
name: c
type: ORIGINAL_DST
lb_policy: CLUSTER_PROVIDED
"""


class HalfBuiltTestCase:
    """Building on one kind of transports, beside what is there already."""

    addCleanup: Any
    assertEqual: Any
    assertTrue: Any
    flushLoggedErrors: Any

    def network_on(self, clock: Any) -> Any:
        """The network."""
        raise NotImplementedError

    def setUp(self) -> Any:
        """A proxy that has nothing yet; but all that it will have is imported."""
        return Deferred.fromCoroutine(self.begin())

    async def begin(self) -> None:
        """Build all of it once, for another proxy."""
        self.prepare()
        for text in (CHECKED, NAMED, NAMING):
            self.proxy.main.clusters.add_or_update(self.message(text))
        self.proxy.main.listeners.add_or_update(self.message(LISTENER))
        await self.stop()
        self.prepare()
        self.addCleanup(self.stop)
        gc.collect()  # so that no descriptor goes meanwhile

    def prepare(self) -> None:
        """A proxy, and a folder for it."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.folder = directory.name
        self.clock = MonotonicReactor(reactor)
        self.network = self.network_on(self.clock)
        self.store = Store()
        self.held = unanswering()
        self.port = free_port()
        self.names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.names.bind(("127.0.0.1", 0))
        for sock in (*self.held, self.names):
            self.addCleanup(sock.close)
        self.proxy: Assembled = assemble(
            bootstrap_pb2.Bootstrap(), base_pb2.Node(), self.network, self.store
        )

    async def stop(self) -> None:
        """The end of the proxy."""
        await self.proxy.main.stop()
        await self.network.stop()
        self.clock.stop()

    def message(self, text: str) -> Any:
        """The one listener or cluster of a configuration, judged as a whole one would be."""
        filled = text % {
            "folder": self.folder,
            "port": address(self.port),
            "filters": FILTERS,
            "policies": POLICIES,
            "sinks": SINKS,
            "loggers": LOGGERS,
            "cares": CARES,
            "host": endpoint(self.held[0].getsockname()[1]),
            "name": endpoint(80, "a.test"),
            "dns": address(self.names.getsockname()[1]),
        }
        kind = "listeners" if "filter_chains" in text else "clusters"
        body = "\n".join(f"    {line}" for line in filled.strip().splitlines())
        config = f"static_resources:\n  {kind}:\n  -{body[3:]}\n"
        resources = load(config_yaml=config, allow_unsupported=True).bootstrap.static_resources
        return next(iter(getattr(resources, kind)))

    # What there is

    def state(self) -> dict[str, Any]:
        """All that building can leave behind."""
        store, main, worker = self.store, self.proxy.main, self.proxy.worker
        names = [each.name for each in store.counters()]
        names += [each.name for each in store.gauges()]
        names += [each.name for each in store.histograms()]
        return {
            "names": sorted(name for name in names if not name.startswith(SHARED)),
            "scopes": count_of_scopes(store),
            # A log that was opened and has no line yet may stay.
            "files": sorted(each for each in os.listdir(self.folder) if "log" not in each),
            "descriptors": descriptors(),
            "timers": len(self.network.timers._armed),
            "calls": sum(entry[0] is not None for entry in waiting(main.clusters._wheel)),
            "delayed": len(self.clock.getDelayedCalls()) > 1,
            "alarms": alarms(),
            "main": (sorted(main.clusters._known), main.clusters._active, main.clusters._warming),
            "listeners": sorted(main.listeners._listeners),
            "worker": (sorted(worker.clusters._by_number), sorted(worker.clusters._by_name)),
            "listening": [each.name for each in worker.listeners._listeners.values()],
            "connections": len(self.network.ports) if hasattr(self.network, "ports") else 0,
        }

    async def every_step_fails(
        self, build: Callable[[], object], again: Callable[[], object] | None = None
    ) -> int:
        """Let every call of a build fail once; how many there were.

        :param again: what brings about anew the state in which it began.
        """
        await deferLater(reactor, 0.1)  # what is there begins to check its hosts
        for number in count():
            before = self.state()
            try:
                with failing(number) as failed:
                    build()
            except Injected:
                await self.settle()
                self.assertEqual({}, changes(before, self.state()), failed)
                continue
            if not failed:
                return number
            # It failed where nobody but the log could be told: then it is there, perhaps of no use.
            self.proxy.main.clusters.remove("c")
            self.proxy.main.listeners.remove("l")
            for path in Path(self.folder).glob("*.sock"):
                path.unlink()
            await self.settle()
            self.flushLoggedErrors(Injected)
            if again is not None:
                again()
            else:
                self.assertEqual({}, changes(before, self.state()), failed)
        raise AssertionError("never")

    async def settle(self) -> None:
        """Let the reactor do what was put off to its next turns."""
        for _ in range(3):
            await deferLater(reactor, 0)

    def start_workers(self) -> None:
        """Start them, without the timer of main's that comes and goes with its questions."""
        self.proxy.main.start_workers()
        self.proxy.main.watching.stop()

    async def add_listener(self, text: str = LISTENER) -> int:
        """Build a listener of this text, every step failing once."""
        message = self.message(text)
        return await self.every_step_fails(lambda: self.proxy.main.listeners.add_or_update(message))

    async def test_listener(self) -> None:
        """A listener with all kinds of filters, bound before the workers start; and opened when it
        is added later.
        """
        self.assertTrue(await self.add_listener() > 50)
        self.proxy.main.listeners.remove("l")
        self.start_workers()
        self.assertTrue(await self.add_listener() > 50)

    async def test_changed_listener(self) -> None:
        """A listener that is to be replaced is there as before, and can be connected to."""
        message = self.message(LISTENER)
        self.start_workers()
        self.proxy.main.listeners.add_or_update(message)
        changed = type(message)()
        changed.CopyFrom(message)
        changed.filter_chains[0].filters[1].typed_config.value += b"\x10\x07"
        changed.address.pipe.mode = 0o666

        def build() -> None:
            self.proxy.main.listeners.add_or_update(changed)

        path = Path(self.folder) / "l.sock"

        def again() -> None:
            self.proxy.main.listeners.add_or_update(message)

        self.assertTrue(await self.every_step_fails(build, again) > 50)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))

    async def cluster(self, text: str) -> int:
        """Build a cluster of this text, every step failing once."""
        message = self.message(text)
        return await self.every_step_fails(lambda: self.proxy.main.clusters.add_or_update(message))

    async def test_cluster(self) -> None:
        """A cluster with health checks, event logs, outlier detection, pools and a policy within a
        policy.
        """
        self.assertTrue(await self.cluster(CHECKED) > 100)

    async def test_cluster_of_names(self) -> None:
        """A cluster whose hosts DNS tells."""
        self.assertTrue(await self.cluster(NAMED) > 30)

    async def test_cluster_that_connections_name(self) -> None:
        """A cluster of ORIGINAL_DST."""
        self.assertTrue(await self.cluster(NAMING) > 30)

    async def test_changed_cluster(self) -> None:
        """A cluster that is to be replaced is there as before."""
        message = self.message(CHECKED)
        self.proxy.main.clusters.add_or_update(message)
        initialized: Deferred[None] = self.proxy.main.initialize()
        initialized.addErrback(lambda failure: None)
        changed = type(message)()
        changed.CopyFrom(message)
        changed.connect_timeout.seconds = 3

        def build() -> None:
            self.proxy.main.clusters.add_or_update(changed)

        def again() -> None:
            self.proxy.main.clusters.add_or_update(message)

        self.assertTrue(await self.every_step_fails(build, again) > 100)


def changes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What differs, as it was and as it is."""
    return {
        name: (_without(was, after[name]), _without(after[name], was))
        for name, was in before.items()
        if was != after[name]
    }


def _without(these: Any, those: Any) -> Any:
    if not isinstance(these, list):
        return these
    rest = list(these)
    for each in those:
        if each in rest:
            rest.remove(each)
    return rest


def count_of_scopes(store: Any) -> int:
    """All scopes that are open."""
    found, left = 0, [store._root]
    while left:
        scope = left.pop()
        found += 1
        left += scope._children
    return found


def links() -> list[str]:
    """What the open descriptors are."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:
            continue  # of the listing itself
    return found


def descriptors() -> list[str]:
    """The open descriptors by their kinds, but for those of which the reactor has now more and now
    less, and the one that Twisted's first port keeps in reserve as long as the process lives.
    """
    kinds = [each.partition("[")[0] for each in links()]
    return sorted(each for each in kinds if each not in ("anon_inode:", "pipe:", os.devnull))


def alarms() -> int:
    """Kernel timers that are open, and not watched."""
    real: Any = reactor
    watched = [each for each in real.getReaders() if each.logPrefix() == "timers"]
    return links().count("anon_inode:[timerfd]") - len(watched)


def waiting(wheel: Any) -> Iterator[Any]:
    """The calls that wait in a wheel."""
    for entries in wheel._waiting.values():
        yield from entries


class StockHalfBuiltTests(HalfBuiltTestCase, TestCase):
    """Twisted's own transports."""

    def network_on(self, clock: Any) -> Any:
        return StockNetwork(clock)


@skipUnless(sys.platform == "linux", "epoll is Linux's")
class EpollHalfBuiltTests(HalfBuiltTestCase, TestCase):
    """The fast transports."""

    def network_on(self, clock: Any) -> Any:
        from tcpmesh.net.epoll.network import EpollNetwork

        return EpollNetwork(clock)
