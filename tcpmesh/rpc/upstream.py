"""Where gRPC calls go: a cluster, or a target of their own (`tcpmesh.rpc.target`)."""

from __future__ import annotations

from typing import Any, Protocol

from tcpmesh.net.connecting.local_address import local_address
from tcpmesh.registry import Context
from tcpmesh.rpc.http2.codec import Fields
from tcpmesh.rpc.http2.stream import Http2Stream, Reset, ResetReason, StreamObserver
from tcpmesh.rpc.status import GrpcStatus


class Upstream(Protocol):
    """Where calls go."""

    authority: str
    fields: Fields
    """What goes with each call beyond the fields that gRPC has."""

    def open(
        self, fields: Fields, observer: StreamObserver, body: bytes, *, ended: bool
    ) -> Http2Stream:
        """Begin a stream."""

    def begins(self) -> None:
        """A call is made."""

    def over(self, status: GrpcStatus) -> None:
        """It has come to this."""

    def close(self) -> None:
        """No more calls are made."""


def no_stream(observer: StreamObserver, reset: Reset) -> Http2Stream:
    """The stream of a call that comes to nothing at once."""
    stream = Http2Stream((), observer, _nothing)
    stream.fail(reset)
    return stream


def _nothing(stream: Http2Stream, reset: Reset | None) -> None:
    """Nobody counts this stream."""


class ClusterUpstream:
    """A cluster as it is when a call is made (`envoy_grpc`)."""

    def __init__(self, message: Any, context: Context) -> None:
        self._name: str = message.cluster_name
        self._cluster = context.cluster
        self.authority: str = message.authority or self._name
        self.fields: Fields = ()
        if not message.skip_envoy_headers:
            self.fields = (("x-envoy-internal", "true"), ("x-forwarded-for", local_address()))

    def open(
        self, fields: Fields, observer: StreamObserver, body: bytes, *, ended: bool
    ) -> Http2Stream:
        """Begin a stream to one of its hosts."""
        cluster = self._cluster(self._name)
        if cluster is not None:
            opened: Http2Stream = cluster.http2.open(fields, observer, body, ended=ended)
            return opened
        return no_stream(
            observer, Reset(ResetReason.NO_HOST, f"there is no cluster {self._name!r}")
        )

    def begins(self) -> None:
        """The cluster counts its requests."""

    def over(self, status: GrpcStatus) -> None:
        """Likewise."""

    def close(self) -> None:
        """The cluster has its connections, for others too."""
