"""The set itself."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.schema import newer


def fields_of(
    scope: str, messages: Iterable[DescriptorProto]
) -> Iterator[tuple[str, FieldDescriptorProto]]:
    """All fields of these messages and of those in them, each with the name of its message."""
    for message in messages:
        name = f"{scope}.{message.name}"
        yield from ((name, field) for field in message.field)
        yield from fields_of(name, message.nested_type)


class SetTests(SynchronousTestCase):
    """What Envoy has and xds-protos lacks."""

    def test_all_there(self) -> None:
        """Every field of the set is a field of its message, and every module can be imported."""
        pool: Any = descriptor_pool.Default()
        for module in newer.modules():
            importlib.import_module(module)
        for file in newer.files().values():
            for message, field in fields_of(file.package, file.message_type):
                known = pool.FindMessageTypeByName(message).fields_by_name.get(field.name)
                self.assertIsNotNone(known, f"{message}.{field.name}")
                self.assertEqual((field.number, field.type), (known.number, known.type))

    def test_wanted(self) -> None:
        """It has what a TCP proxy is asked for most of what is newer."""
        names = {
            f"{message.rpartition('.')[2]}.{field.name}"
            for file in newer.files().values()
            for message, field in fields_of(file.package, file.message_type)
        }
        self.assertLessEqual(
            {
                "TcpProxy.check_drain_close",
                "TcpAccessLogOptions.flush_access_log_on_start",
                "Config.on_downstream_tls_handshake",
                "Config.on_downstream_data",
                "Config.on_accept",
                "Listener.tcp_keepalive",
                "TcpBandwidthLimit.read_limit_kbps",
                "HealthCheck.name",
                "PreconnectPolicy.preconnect_enabled_metadata",
                "StreamMetricsMessage.envoy_metrics",
                "MySQLProxy.stat_prefix",
                "PostgresProxy.downstream_ssl",
                "KafkaBroker.force_response_rewrite",
            },
            names,
        )

    def test_no_comments(self) -> None:
        """It has names and numbers, and no text of Envoy's."""
        self.assertFalse(any(f.HasField("source_code_info") for f in newer.files().values()))

    def test_modules(self) -> None:
        """A module is found where its messages are; what is no file of Envoy has none."""
        folder = "envoy.extensions.filters.network.mysql_proxy"
        contrib = "contrib/envoy/extensions/filters/network/mysql_proxy/v3/mysql_proxy.proto"
        self.assertEqual(f"{folder}.v3.mysql_proxy_pb2", newer.module_of(contrib))
        self.assertEqual("validate.validate_pb2", newer.module_of("validate/validate.proto"))
        self.assertIsNone(newer.module_of("io/prometheus/client/metrics.proto"))
        self.assertEqual(("v3",), newer.packages()[folder])
        self.assertEqual(("mysql_proxy_pb2",), newer.packages()[f"{folder}.v3"])

    def test_readable(self) -> None:
        """The file is a FileDescriptorSet, which other programs read, too."""
        files = FileDescriptorSet.FromString(newer.DATA.read_bytes()).file
        self.assertEqual(sorted(newer.files()), [file.name for file in files])
        self.assertTrue(all(isinstance(file, FileDescriptorProto) for file in files))
