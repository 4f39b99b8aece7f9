"""Modules with their gaps filled, and modules made from a file."""

from __future__ import annotations

from types import CodeType

from google.protobuf.descriptor_pb2 import FileDescriptorProto

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.schema import newer
from tcpmesh.config.schema.loaders import FilledLoader
from tests.config.schema.process import printed

NAME = "envoy/config/core/v3/health_check.proto"
IMPORT_ALL = """
import tcpmesh, importlib, pkgutil, envoy, xds, udpa
from tcpmesh.config.schema import newer
names = [
    module.name
    for root in (envoy, xds, udpa)
    for module in pkgutil.walk_packages(root.__path__, root.__name__ + ".")
    if module.name.endswith("_pb2")
]
for name in sorted({*names, *newer.modules()}, reverse=REVERSE):
    importlib.import_module(name)
print(len(names) > 500)
"""


class Generated:
    """Has the code of a generated module."""

    def __init__(self, file: FileDescriptorProto) -> None:
        self.source = f"FILE = {file.SerializeToString()!r}\nOTHER = b'\\n\\x05other'\n"

    def get_code(self, name: str) -> CodeType:
        """The code of the module."""
        return compile(self.source, name, "exec")

    def get_source(self, name: str) -> str:
        """Its text."""
        return self.source


class FilledTests(SynchronousTestCase):
    """A generated module of the package."""

    def file(self, *fields: tuple[str, int]) -> FileDescriptorProto:
        """The file of health checks, with these fields."""
        file = FileDescriptorProto(name=NAME, package="envoy.config.core.v3", syntax="proto3")
        file.enum_type.add(name="HealthStatus").value.add(name="UNKNOWN")
        message = file.message_type.add(name="HealthCheck")
        for name, number in fields:
            message.field.add(name=name, number=number)
        return file

    def constants(self, file: FileDescriptorProto, newer_file: FileDescriptorProto) -> CodeType:
        """The code of a module of a file, once that is filled."""
        code = FilledLoader(Generated(file), newer_file).get_code("module")
        assert code is not None
        return code

    def test_filled(self) -> None:
        """What is missing is in the code that runs, and nothing else of the code is another."""
        names: dict[str, bytes] = {}
        exec(self.constants(self.file(("a", 1)), self.file(("a", 1), ("b", 2))), names)

        file = FileDescriptorProto.FromString(names["FILE"])
        self.assertEqual(["a", "b"], [field.name for field in file.message_type[0].field])
        self.assertEqual(b"\n\x05other", names["OTHER"])

    def test_newer_package(self) -> None:
        """A package that has it all already is run as it is, to the byte."""
        file = self.file(("a", 1), ("b", 2))
        as_it_is = Generated(file).get_code("module")

        self.assertEqual(as_it_is, self.constants(file, self.file(("b", 2))))

    def test_name_of_health_check(self) -> None:
        """The same with the set itself: `name` is not added to a HealthCheck that has one."""
        file = self.file(("name", 27))
        names: dict[str, bytes] = {}
        exec(self.constants(file, newer.files()[NAME]), names)
        fields = FileDescriptorProto.FromString(names["FILE"]).message_type[0].field

        self.assertEqual(1, [field.name for field in fields].count("name"))

    def test_source(self) -> None:
        """A traceback shows the lines of the package."""
        generated = Generated(self.file())
        loader = FilledLoader(generated, self.file())

        self.assertEqual(generated.source, loader.get_source("module"))


class ProcessTests(SynchronousTestCase):
    """One pool of descriptors for everybody."""

    def test_everything(self) -> None:
        """All modules of the package and of the set can be imported into one process, in either
        order.
        """
        for reverse in ("False", "True"):
            self.assertEqual(["True"], printed(IMPORT_ALL.replace("REVERSE", reverse)))

    def test_others(self) -> None:
        """Who imports the package's module gets the same message, with the fields that are newer
        beside those that the package has.
        """
        program = (
            "import tcpmesh\n"
            "from envoy.config.core.v3 import health_check_pb2\n"
            "from envoy.config.cluster.v3.cluster_pb2 import Cluster\n"
            "check = health_check_pb2.HealthCheck(reuse_connection={'value': True}, name='a')\n"
            "cluster = Cluster(health_checks=[check])\n"
            "print(check.SerializeToString(), cluster.health_checks[0] == check)\n"
            "print(health_check_pb2.__name__, type(check).__module__, health_check_pb2.UNKNOWN)\n"
        )
        module = "envoy.config.core.v3.health_check_pb2"
        for implementation in ("upb", "python"):
            self.assertEqual(
                ["b':\\x02\\x08\\x01\\xda\\x01\\x01a' True", f"{module} {module} 0"],
                printed(program, implementation),
            )

    def test_made(self) -> None:
        """A made module is like a generated one: classes, enum values, services, a Python type that
        knows its module.
        """
        program = (
            "import tcpmesh\n"
            "from envoy.service.metrics.v3 import metrics_service_pb2 as service\n"
            "from envoy.extensions.stat_sinks.kafka.v3 import kafka_stats_sink_pb2 as kafka\n"
            "message = service.StreamMetricsMessage(envoy_metrics=[{'name': 'a'}])\n"
            "print(type(message).__module__, message.envoy_metrics[0].name)\n"
            "print(kafka.PROTOBUF, kafka.SerializationFormat.Name(1))\n"
            "print(kafka.KafkaStatsSinkConfig(producer_config={'a': 'b'}).producer_config['a'])\n"
            "print(list(service.DESCRIPTOR.services_by_name))\n"
        )
        for implementation in ("upb", "python"):
            self.assertEqual(
                [
                    "envoy.service.metrics.v3.metrics_service_pb2 a",
                    "1 PROTOBUF",
                    "b",
                    "['MetricsService']",
                ],
                printed(program, implementation),
            )
