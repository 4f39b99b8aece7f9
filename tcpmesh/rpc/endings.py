"""What becomes the status of a gRPC call: what a server says, and what its silence means."""

from __future__ import annotations

from tcpmesh.rpc.http2.stream import Reset, ResetReason
from tcpmesh.rpc.status import GrpcError, GrpcStatus

_OF_HTTP = {
    400: GrpcStatus.INTERNAL,
    401: GrpcStatus.UNAUTHENTICATED,
    403: GrpcStatus.PERMISSION_DENIED,
    404: GrpcStatus.UNIMPLEMENTED,
    429: GrpcStatus.UNAVAILABLE,
    502: GrpcStatus.UNAVAILABLE,
    503: GrpcStatus.UNAVAILABLE,
    504: GrpcStatus.UNAVAILABLE,
}


def of_http(status: str) -> GrpcError:
    """What the response of a server means that is none of gRPC, by its `:status`."""
    return GrpcError(_OF_HTTP.get(int(status), GrpcStatus.UNKNOWN), f"HTTP status {status}")


def of_field(value: str, message: str) -> GrpcError | None:
    """What a `grpc-status` says; `None` for OK."""
    if not (value.isascii() and value.isdigit()):
        return GrpcError(GrpcStatus.UNKNOWN, message or f"grpc-status {value!r}")
    code = int(value[:8])
    if code > max(GrpcStatus):
        return GrpcError(GrpcStatus.UNKNOWN, message or f"grpc-status {value}")
    return GrpcError(GrpcStatus(code), message) if code else None


def of_reset(reset: Reset, has_begun: bool) -> GrpcError:
    """What it means that a stream was broken off, as in Envoy.

    :param has_begun: whether the server had begun to answer.
    """
    if reset.reason is ResetReason.NO_HOST:
        return GrpcError(GrpcStatus.UNAVAILABLE, reset.reason.value, reset)
    why = f"reset reason: {reset.reason.value}"
    if reset.details:
        why += f", {reset.details}"
    if has_begun:
        return GrpcError(GrpcStatus.INTERNAL, why, reset)
    text = f"upstream connect error or disconnect/reset before headers. {why}"
    return GrpcError(GrpcStatus.UNAVAILABLE, text, reset)
