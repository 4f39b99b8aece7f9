"""Parts of files that protobuf's implementation in Python copies by their place."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.schema.process import printed

PROGRAM = """
import tcpmesh
from google.protobuf import descriptor_pb2
from envoy.config.core.v3 import health_check_pb2, socket_option_pb2
from envoy.extensions.filters.network.postgres_proxy.v3alpha import postgres_proxy_pb2
from envoy.service.metrics.v3 import metrics_service_pb2

def copy(descriptor, kind):
    proto = kind()
    descriptor.CopyToProto(proto)
    return proto

messages = descriptor_pb2.DescriptorProto
check = health_check_pb2.HealthCheck
print(copy(check.DESCRIPTOR, messages).name)
print([field.name for field in copy(check.DESCRIPTOR, messages).field][-1])
print(copy(check.Payload.DESCRIPTOR, messages).name)
print(len(copy(health_check_pb2.HealthStatus.DESCRIPTOR, descriptor_pb2.EnumDescriptorProto).value))
enum = socket_option_pb2.SocketOption.DESCRIPTOR.enum_types_by_name["SocketIpVersion"]
print(copy(enum, descriptor_pb2.EnumDescriptorProto).value[1].name)
mode = postgres_proxy_pb2.PostgresProxy.SSLMode.DESCRIPTOR
print(copy(mode, descriptor_pb2.EnumDescriptorProto).value[2].name)
service = metrics_service_pb2.DESCRIPTOR.services_by_name["MetricsService"]
print(copy(service, descriptor_pb2.ServiceDescriptorProto).method[0].name)
"""


class CopyTests(SynchronousTestCase):
    """Messages, enums and services, in each other and not."""

    def test_copies(self) -> None:
        """The copy of a part is that part, of a file with gaps filled as of one that was made,
        whatever protobuf is implemented in.
        """
        for implementation in ("upb", "python"):
            self.assertEqual(
                [
                    "HealthCheck",
                    "name",
                    "Payload",
                    "6",
                    "SOCKET_IP_VERSION_IPV4",
                    "ALLOW",
                    "StreamMetrics",
                ],
                printed(PROGRAM, implementation),
            )
