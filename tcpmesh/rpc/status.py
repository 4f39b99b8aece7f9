"""How a gRPC call ends: its status, and what becomes one."""

from __future__ import annotations

from enum import IntEnum

from tcpmesh.rpc.http2.stream import Reset, ResetReason


class GrpcStatus(IntEnum):
    """The codes of gRPC."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class GrpcError(Exception):
    """A call ended with another status than OK.

    :param status: what the server said, or what its silence means.
    :param message: why; a text of the server's may be anything.
    """

    def __init__(self, status: GrpcStatus, message: str = "") -> None:
        super().__init__(f"{status.name}: {message}" if message else status.name)
        self.status = status
        self.message = message


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
    code = int(status) if status.isascii() and status.isdigit() else 0
    return GrpcError(_OF_HTTP.get(code, GrpcStatus.UNKNOWN), f"HTTP status {status}")


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
        return GrpcError(GrpcStatus.UNAVAILABLE, reset.reason.value)
    why = f"reset reason: {reset.reason.value}"
    if reset.details:
        why += f", {reset.details}"
    if has_begun:
        return GrpcError(GrpcStatus.INTERNAL, why)
    text = f"upstream connect error or disconnect/reset before headers. {why}"
    return GrpcError(GrpcStatus.UNAVAILABLE, text)
