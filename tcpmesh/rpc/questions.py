"""Questions to a gRPC service about connections: whether one may go on, for instance.

There is one for each connection at most, and it may be over before the answer: then the question is
broken off, and what comes is not heard.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from google.protobuf.message import Message

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from tcpmesh.config.fields.to_plain import whole
from tcpmesh.logs.debug import debug_logger
from tcpmesh.rpc.client import GrpcClient
from tcpmesh.stats.metrics import Gauge

log = Logger(namespace="grpc")
debug_log = debug_logger("grpc")

Answer = TypeVar("Answer", bound=Message)
Answer_co = TypeVar("Answer_co", bound=Message, covariant=True)


class Tell(Protocol):
    """Whom the answer is told to."""

    def __call__(self, about: Any, answer: Any) -> object:
        """The service has answered; with `None` it has not, or with an error."""


class Questions(Generic[Answer]):
    """Those of one filter.

    :param method: such as `/package.Service/Method`.
    :param reply: the type of an answer.
    :param timeout: seconds for an answer.
    :param active: counts questions without an answer yet.
    :param done: called once it is closed and no question is left.
    """

    def __init__(
        self,
        client: GrpcClient,
        method: str,
        reply: type[Answer],
        timeout: float,
        active: Gauge,
        done: Callable[[], object],
    ) -> None:
        self._client = client
        self._method = method
        self._reply = reply
        self._timeout = timeout
        self._active = active
        self._done = done
        self._open: dict[Any, Deferred[Any]] = {}
        self._is_closed = False

    def __contains__(self, about: object) -> bool:
        """Whether a question about this has no answer yet."""
        return about in self._open

    def ask(self, about: Any, request: Message, tell: Tell) -> None:
        """Ask; `tell` is not called before this has returned, nor after `drop`."""
        self._active.add(1)
        call = self._client.unary(self._method, request, self._reply, self._timeout)
        self._open[about] = call
        call.addErrback(self._failed)
        call.addCallback(self._answered, about, tell)
        call.addErrback(lambda failure: log.failure("an answer was not taken", failure))

    def _failed(self, failure: Failure) -> None:
        if debug_log.enabled:
            debug_log.debug("no answer: {why}", why=failure.getErrorMessage())

    def _answered(self, answer: Answer | None, about: Any, tell: Tell) -> None:
        if self._forget(about) is None:
            return
        try:
            tell(about, answer)
        finally:
            self._end()

    def drop(self, about: Any) -> None:
        """The answer does not matter any more."""
        call = self._forget(about)
        if call is not None:
            call.cancel()
            self._end()

    def _forget(self, about: Any) -> Deferred[Any] | None:
        call = self._open.pop(about, None)
        if call is not None:
            self._active.add(-1)
        return call

    def close(self) -> None:
        """No more questions come; those that are open are waited for."""
        self._is_closed = True
        self._end()

    def _end(self) -> None:
        if self._is_closed and not self._open:
            self._client.close()
            self._done()


def metadata_of(struct: Any) -> dict[str, Any]:
    """The values of a `Struct`, which may be any numbers, as dynamic metadata has them."""
    return {key: _plain(value) for key, value in struct.fields.items()}


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return metadata_of(value.struct_value)
    if kind == "list_value":
        return [_plain(each) for each in value.list_value.values]
    if kind in (None, "null_value"):
        return None
    found = getattr(value, kind)
    return whole(found) if kind == "number_value" else found
