"""From an :type to the class that understands it."""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import EntryPoint
from random import Random
from types import ModuleType
from typing import Any

from envoy.extensions.filters.network.redis_proxy.v3 import redis_proxy_pb2
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import Int64Value

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh import registry
from tcpmesh.stats.store import Store
from tcpmesh.testing.memory.network import MemoryNetwork


def packed(message: Any) -> AnyMessage:
    """The message as a typed_config."""
    config = AnyMessage()
    config.Pack(message)
    return config


class RegistryTestCase(SynchronousTestCase):
    """A test that may register what it likes: all is forgotten afterwards."""

    def setUp(self) -> None:
        """Keep what is registered from being changed for good; what is really there is registered
        before.
        """
        for module in (
            "clusters.static",
            "load_balancing_policies.round_robin",
            "filters.network.tcp_proxy",
        ):
            importlib.import_module(f"tcpmesh.extensions.{module}")
        # What other tests have registered for messages of no extension is left out.
        known = registry._by_type.items()
        kept = {name: each for name, each in known if name.startswith("envoy.")}
        self.patch(registry, "_by_type", kept)
        self.patch(registry, "_by_value", dict(registry._by_value))
        self.context = registry.WorkerContext(
            MemoryNetwork(), Store(), lambda name: None, Random(1)
        )


class PlaceTests(SynchronousTestCase):
    """Where an extension of ours is."""

    def test_places(self) -> None:
        """The path is the type; of the sinks that Envoy never moved to its extensions it is the
        name.
        """
        for name, module in {
            "envoy.extensions.filters.network.echo.v3.Echo": "filters.network.echo",
            "envoy.extensions.stat_sinks.graphite_statsd.v3.GraphiteStatsdSink": (
                "stat_sinks.graphite_statsd"
            ),
            "envoy.config.metrics.v3.StatsdSink": "stat_sinks.statsd",
            "envoy.config.metrics.v3.DogStatsdSink": "stat_sinks.dog_statsd",
            "envoy.config.metrics.v3.MetricsServiceConfig": "stat_sinks.metrics_service",
        }.items():
            self.assertEqual(f"tcpmesh.extensions.{module}", registry._own_module(name))
        for name in ("google.protobuf.Struct", "envoy.config.core.v3.Node"):
            self.assertEqual("", registry._own_module(name))


class Echo:
    """An extension that keeps what it is given."""

    def __init__(self, message: Any, context: registry.WorkerContext) -> None:
        self.message = message
        self.context = context


class TypeTests(RegistryTestCase):
    """Extensions by the type of their configuration."""

    def test_path_is_the_type(self) -> None:
        """A type of Envoy's is found in the module of the same path, without having been named
        anywhere.
        """
        name = "tcpmesh.extensions.filters.network.tcp_proxy"
        del registry._by_type[tcp_proxy_pb2.TcpProxy.DESCRIPTOR.full_name]
        self.addCleanup(sys.modules.__setitem__, name, sys.modules.pop(name))
        made = registry.build(
            packed(tcp_proxy_pb2.TcpProxy(stat_prefix="t", cluster="c")), self.context
        )
        self.assertEqual(name, type(made).__module__)

    def test_built_from_message_and_context(self) -> None:
        """An extension is built from its message, unpacked, and the context."""
        registry.extension(redis_proxy_pb2.RedisProxy)(Echo)
        made = registry.build(packed(redis_proxy_pb2.RedisProxy()), self.context)
        self.assertEqual(redis_proxy_pb2.RedisProxy(), made.message)
        self.assertIs(self.context, made.context)

    def test_fields_arrive(self) -> None:
        """The fields of the message arrive as they were given."""
        registry.extension(Int64Value)(Echo)
        self.assertEqual(7, registry.build(packed(Int64Value(value=7)), self.context).message.value)

    def test_unknown(self) -> None:
        """A type that nobody understands is an UnknownExtension that names it, whatever its name
        looks like.
        """
        for message in (redis_proxy_pb2.RedisProxy(), Struct()):
            failure = self.assertRaises(
                registry.UnknownExtension, registry.build, packed(message), self.context
            )
            self.assertIn(message.DESCRIPTOR.full_name, str(failure))

    def test_strange_names(self) -> None:
        """Names that are no paths of modules are unknown, and nothing is imported for them."""
        before = set(sys.modules)
        for name in (
            "",
            ".",
            "envoy.extensions",
            "envoy.extensions.....v3.X",
            "envoy.extensions.os.path.v3.X",
            "envoy.x.y",
        ):
            config = AnyMessage(type_url=f"type.googleapis.com/{name}")
            self.assertRaises(registry.UnknownExtension, registry.build, config, self.context)
        self.assertEqual(
            set(),
            {
                name
                for name in set(sys.modules) - before
                if not name.startswith("tcpmesh.extensions")
            },
        )

    def test_claimed_twice(self) -> None:
        """Two classes cannot claim one type; one may do so twice."""
        registry.extension(redis_proxy_pb2.RedisProxy)(Echo)
        registry.extension(redis_proxy_pb2.RedisProxy)(Echo)
        self.assertRaises(
            ValueError, registry.extension(redis_proxy_pb2.RedisProxy), type("Other", (), {})
        )
        self.assertIs(
            Echo, type(registry.build(packed(redis_proxy_pb2.RedisProxy()), self.context))
        )

    def test_entry_point(self) -> None:
        """Another package names its module in the entry-point group, under the full name of the
        message.
        """
        module = "tests_of_tcpmesh_an_extension_elsewhere"
        name = redis_proxy_pb2.RedisProxy.DESCRIPTOR.full_name
        self.patch(registry, "entry_points", lambda group: [EntryPoint(name, module, group)])
        elsewhere = ModuleType(module)
        sys.modules[module] = elsewhere
        self.addCleanup(sys.modules.pop, module)
        self.patch(
            importlib,
            "import_module",
            lambda named: registry.extension(redis_proxy_pb2.RedisProxy)(Echo),
        )
        self.assertIs(
            Echo, type(registry.build(packed(redis_proxy_pb2.RedisProxy()), self.context))
        )

    def test_broken_class(self) -> None:
        """A class of another package that cannot be built is named with its own error; one of ours
        fails with that error.
        """

        class Broken:
            def __init__(self, message: Any, context: registry.WorkerContext) -> None:
                raise RuntimeError("its own trouble")

        registry.extension(redis_proxy_pb2.RedisProxy)(Broken)
        failure = self.assertRaises(
            registry.BrokenExtension,
            registry.build,
            packed(redis_proxy_pb2.RedisProxy()),
            self.context,
        )
        for word in (
            "Broken",
            "envoy.extensions.filters.network.redis_proxy.v3.RedisProxy",
            "RuntimeError: its own trouble",
        ):
            self.assertIn(word, str(failure))
        Broken.__module__ = "tcpmesh.extensions.filters.network.redis_proxy"
        self.assertRaises(
            RuntimeError, registry.build, packed(redis_proxy_pb2.RedisProxy()), self.context
        )

    def test_broken_module(self) -> None:
        """An extension whose module cannot be imported fails with that module's own error, not as
        unknown.
        """

        def broken(named: str) -> None:
            raise ImportError("its own trouble")

        registry._by_type.pop(tcp_proxy_pb2.TcpProxy.DESCRIPTOR.full_name, None)
        self.patch(importlib, "import_module", broken)
        failure = self.assertRaises(
            ImportError, registry.build, packed(tcp_proxy_pb2.TcpProxy()), self.context
        )
        self.assertEqual("its own trouble", str(failure))


class ValueTests(RegistryTestCase):
    """Extensions by an enum value."""

    def test_path_is_the_value(self) -> None:
        """A value is found in the module of its name in small letters."""
        self.assertEqual(
            "tcpmesh.extensions.clusters.static",
            registry.find_value("clusters", "STATIC").__module__,
        )
        policy = registry.find_value("load_balancing_policies", "ROUND_ROBIN")
        self.assertEqual(
            "tcpmesh.extensions.load_balancing_policies.round_robin", policy.__module__
        )

    def test_unknown(self) -> None:
        """A value that nobody has is an UnknownExtension that names it."""
        failure = self.assertRaises(
            registry.UnknownExtension, registry.find_value, "clusters", "NO_SUCH"
        )
        self.assertIn("NO_SUCH", str(failure))
        self.assertRaises(
            registry.UnknownExtension, registry.find_value, "no_such_category", "STATIC"
        )

    def test_claimed_twice(self) -> None:
        """Two classes cannot claim one value."""
        registry.enum_value("clusters", "MINE")(Echo)
        self.assertIs(Echo, registry.find_value("clusters", "MINE"))
        self.assertRaises(
            ValueError, registry.enum_value("clusters", "MINE"), type("Other", (), {})
        )
