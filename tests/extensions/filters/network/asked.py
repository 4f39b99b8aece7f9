"""A gRPC service that network filters ask, on the same network in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from tcpmesh.testing.harness import Server as Factory
from tcpmesh.wire.grpc import MessageReader, framed
from tests.extensions.filters.network.filtered import FilteredTestCase, cluster
from tests.rpc.called import Call, ServerConnection

SERVICE = "127.0.0.9:90"

_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def service_cluster(address: str = SERVICE) -> dict[str, Any]:
    """The cluster of the service, named s."""
    options = {
        "@type": f"type.googleapis.com/{_OPTIONS}",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    return cluster("s", address, typed_extension_protocol_options={_OPTIONS: options})


class AskedTestCase(FilteredTestCase):
    """A test of a filter that asks; until a test says otherwise the service does not answer."""

    question: type[Message]

    def serve_asking(self, *filters: dict[str, Any], **fields: Any) -> None:
        """Start the proxy and the service."""
        self.settings: dict[Any, int] = {}
        self.takes = True
        self.calls: list[Call] = []
        self.reply: Callable[[Call], object] = lambda call: None
        self.serve(*filters, clusters=(service_cluster(),), **fields)
        self.service: Factory = self.mesh.upstream(SERVICE)
        self.service.make = lambda: ServerConnection(self)  # type: ignore[arg-type]

    def asked(self) -> list[Any]:
        """The questions that the service was asked."""
        found = []
        for call in self.calls:
            ((_, raw),) = MessageReader(1 << 20).feed(bytes(call.body))
            found.append(self.question.FromString(raw))
        return found

    def always(self, answer: Message) -> None:
        """Answer every question so."""

        def reply(call: Call) -> None:
            call.head()
            call.data(framed(answer.SerializeToString()))
            call.end()

        self.reply = reply

    def refuse(self, call: Call) -> None:
        """Answer with an error."""
        fields = ((":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "13"))
        call.head(fields, ended=True)

    def answer_late(self) -> None:
        """Answer the questions that were not answered."""
        for call in self.calls:
            self.reply(call)
        self.mesh.pump()
