"""How a gRPC call ends: its status."""

from __future__ import annotations

from enum import IntEnum

from tcpmesh.rpc.http2.stream import Reset


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
    :param reset: what broke the call off, where the server has not said how it came out.
    """

    def __init__(self, status: GrpcStatus, message: str = "", reset: Reset | None = None) -> None:
        super().__init__(f"{status.name}: {message}" if message else status.name)
        self.status = status
        self.message = message
        self.reset = reset
