"""Probes: one question to one host, over a connection of their own.

A probe has a timeout for the whole exchange.  It tells its `HostCheck` exactly one result for each
start - or, where Envoy does so too, one more when the host closes a TCP connection that was being
kept for the next question.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import Enum, auto
from functools import partial
from typing import Any, Protocol

from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.python.failure import Failure

from tcpmesh.config.fields.values import seconds
from tcpmesh.facts import dataclass
from tcpmesh.interfaces import INetwork
from tcpmesh.net.connecting.connect_check import ConnectCheckListener
from tcpmesh.net.protocol import OneShotFactory, QuietProtocol
from tcpmesh.net.sockets import is_exhausted
from tcpmesh.net.timeout_queues import TimeoutQueue
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import HostSpec

READ_SIZE = 1 << 12
"""Bytes of an answer that are read at once.  A host may send as much as it likes, and how long that
takes to judge is time that all connections wait.
"""


class Failed(Enum):
    """In what way a check failed, by the names of `data.core.v3.HealthCheckFailureType`."""

    ACTIVE = auto()
    """The host answered, and the answer is not what it should be."""

    NETWORK = auto()
    """No connection, or one that was lost."""

    NETWORK_TIMEOUT = auto()


class IResults(Protocol):
    """Who wants to know: a `HostCheck`."""

    spec: HostSpec
    """The host, as discovery has told of it last."""

    def succeeded(self, degraded: bool = False) -> None:
        """The host is well."""

    def failed(
        self, kind: Failed, retriable: bool = False, status: int = 0, exclude: bool = False
    ) -> None:
        """It is not."""

    def not_tried(self) -> None:
        """It could not be asked, for lack of something on this machine."""


class IProbe(Protocol):
    """One host to be asked."""

    def start(self) -> None:
        """Ask."""

    def stop(self) -> None:
        """Never mind, and close."""


Connect = Callable[[Address, Any, float], Any]
"""Connects to an address for a client factory within so many seconds; gives the connector."""

MakeConnectCheck = Callable[[Address, ConnectCheckListener, float], Any]
"""The `connect_check` of a network, with the options that the address asks for."""

HostConnect = Callable[[HostSpec, Address, Any, float], Any]
"""The same as `Connect`, for a host."""

HostConnectCheck = Callable[[HostSpec, Address, ConnectCheckListener, float], Any]
"""The same as `MakeConnectCheck`, for a host."""

MakeProbe = Callable[[Address, HostSpec, IResults], IProbe]


@dataclass(frozen=True)
class Terms:
    """What a `core.v3.HealthCheck` says of every exchange with a host, and what exchanges need of
    the network.
    """

    connect: Connect
    network: INetwork
    timeout: float
    """Seconds for the whole exchange."""

    reuse: bool
    """Whether the connection is kept for the next one."""

    host_connect: HostConnect | None = None
    """What connects where it matters which host it is, as with TLS."""

    def of_host(self, spec: HostSpec) -> Terms:
        """For exchanges with this host."""
        if self.host_connect is None:
            return self
        return replace(self, connect=partial(self.host_connect, spec), host_connect=None)

    @classmethod
    def of(
        cls,
        message: Any,
        connect: Connect,
        network: INetwork,
        host_connect: HostConnect | None = None,
    ) -> Terms:
        """As the message says."""
        reuse = message.reuse_connection.value if message.HasField("reuse_connection") else True
        return cls(connect, network, seconds(message.timeout), reuse, host_connect)


class ConnectProbe:
    """Whether the host accepts a connection; nothing is said on it."""

    __slots__ = ("_connect_check", "_results")

    def __init__(
        self,
        make_connect_check: MakeConnectCheck,
        address: Address,
        timeout: float,
        results: IResults,
    ) -> None:
        self._results = results
        self._connect_check: Any = make_connect_check(address, self, timeout)

    def start(self) -> None:
        """Connect."""
        self._connect_check.start()

    def stop(self) -> None:
        """Give up, for good."""
        check, self._connect_check = self._connect_check, None  # which knows whom to tell
        check.stop()

    def on_connected(self) -> None:
        """It does."""
        self._results.succeeded()

    def on_refused(self, timed_out: bool) -> None:
        """It does not."""
        self._results.failed(Failed.NETWORK_TIMEOUT if timed_out else Failed.NETWORK)

    def on_not_tried(self) -> None:
        """Nobody knows."""
        self._results.not_tried()


class Line(QuietProtocol):
    """One connection of a probe; once the probe has let go of it, it is silent."""

    __slots__ = ("probe", "transport")

    def __init__(self, probe: ExchangeProbe) -> None:
        self.probe: ExchangeProbe | None = probe
        self.transport: Any = None

    def makeConnection(self, transport: Any) -> None:
        """Connected."""
        self.transport = transport
        transport.read_size = min(transport.read_size, READ_SIZE)
        if self.probe is not None:
            self.probe.connected(self)
        else:
            transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        """The host speaks."""
        if self.probe is not None:
            self.probe.received(data)

    def bufferReceived(self, data: memoryview) -> None:
        """The same, of a transport that lends its buffer."""
        if self.probe is not None:
            self.probe.received(bytes(data))

    def connectionLost(self, reason: Failure) -> None:
        """The host has closed, or left."""
        if self.probe is not None:
            self.probe.lost()

    def leave(self) -> None:
        """Close, and tell the probe no more."""
        self.probe = None
        if self.transport is not None:
            self.transport.loseConnection()


class ExchangeProbe(OneShotFactory):
    """A question and its answer; it is the client factory of its own connections, one after the
    other.

    A subclass writes in `ask`, and judges in `received` and `lost`.
    """

    __slots__ = ("_address", "_connector", "_line", "_queue", "_results", "_terms", "asking")

    def __init__(self, terms: Terms, address: Address, results: IResults) -> None:
        self._terms = terms
        self._address = address
        self._results = results
        self._connector: Any = None
        self._line: Line | None = None
        timers = terms.network.timers
        self._queue: TimeoutQueue[ExchangeProbe] = timers.queue(terms.timeout, _timed_out)
        self.asking = False

    def start(self) -> None:
        """Ask, on the connection that was kept or on a new one."""
        self.asking = True
        self._queue.add(self)
        if self._line is not None:
            self.ask(self._line.transport)
        else:
            self._line = Line(self)
            self._connector = self._terms.connect(self._address, self, self._terms.timeout)

    def stop(self) -> None:
        """Close, whatever is under way."""
        self._end()
        self.hang_up()

    def buildProtocol(self, addr: Any) -> Line | None:
        """Connected."""
        return self._line

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """There is no connection."""
        if connector is not self._connector:
            return
        self._connector = self._line = None
        if is_exhausted(reason):
            self._end()
            self._results.not_tried()
            return
        self.fail(Failed.NETWORK_TIMEOUT if reason.check(ConnectTimeout) else Failed.NETWORK)

    def connected(self, line: Line) -> None:
        """The connection is there: ask."""
        self._connector = None
        self.ask(line.transport)

    def ask(self, transport: Any) -> None:
        """Write the question."""
        raise NotImplementedError

    def received(self, data: bytes) -> None:
        """Judge what came."""
        raise NotImplementedError

    def lost(self) -> None:
        """The host has closed the connection."""
        raise NotImplementedError

    def fail(self, kind: Failed, **details: Any) -> None:
        """The result is a failure."""
        self._end()
        self._results.failed(kind, **details)

    def succeed(self, degraded: bool = False) -> None:
        """The result is a success."""
        self._end()
        self._results.succeeded(degraded)

    def hang_up(self) -> None:
        """Close the connection; what comes of it after this is of no interest."""
        line, self._line = self._line, None
        if line is not None:
            line.leave()
        connector, self._connector = self._connector, None
        if connector is not None:
            connector.stopConnecting()

    def timed_out(self) -> None:
        """The answer is overdue."""
        self.hang_up()
        self.fail(Failed.NETWORK_TIMEOUT)

    def _end(self) -> None:
        self.asking = False
        self._queue.discard(self)


def _timed_out(probe: ExchangeProbe) -> None:
    probe.timed_out()


class PayloadProbe(ExchangeProbe):
    """Sends bytes and waits for others, which must come in their order but may have more between
    them.
    """

    __slots__ = ("_expected", "_header", "_question")

    def __init__(
        self,
        terms: Terms,
        address: Address,
        results: IResults,
        question: bytes,
        expected: tuple[bytes, ...],
        header: Callable[[Any], bytes],
    ) -> None:
        """`header`: makes what goes first on a new connection, from its transport."""
        super().__init__(terms, address, results)
        self._question = question
        self._expected = BlockSearch(expected)
        self._header = header

    def connected(self, line: Line) -> None:
        """Begin with the PROXY header, where there is one."""
        header = self._header(line.transport)
        if header:
            line.transport.write(header)
        super().connected(line)

    def ask(self, transport: Any) -> None:
        """Send the payload."""
        self._expected.reset()
        if self._question:
            transport.write(self._question)

    def received(self, data: bytes) -> None:
        """Look for what is expected; what comes unasked is dropped."""
        if not self.asking or not self._expected.feed(data):
            return
        if not self._terms.reuse:
            self.hang_up()
        self.succeed()

    def lost(self) -> None:
        """A failure, also between two checks."""
        self._line = None
        self.fail(Failed.NETWORK)


def hostname(spec: HostSpec) -> str:
    """What a host's endpoint says it is to be asked as, or an empty text."""
    config = spec.health_check_config
    return "" if config is None else str(config.hostname)


class BlockSearch:
    """Looks for blocks of bytes that come one after the other, with or without gaps, in what comes
    in pieces.  Each byte is searched once, and no more is kept than the start of a block may be.
    """

    __slots__ = ("_blocks", "_found", "_rest")

    def __init__(self, blocks: tuple[bytes, ...]) -> None:
        self._blocks = blocks
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self._found = 0
        self._rest = b""

    def feed(self, data: bytes) -> bool:
        """Take bytes; whether all blocks have come."""
        data = self._rest + data
        place = 0
        for block in self._blocks[self._found :]:
            found = data.find(block, place)
            if found < 0:
                self._rest = data[max(len(data) - len(block) + 1, place) :]
                return False
            place = found + len(block)
            self._found += 1
        return True


def payloads(messages: Any) -> tuple[bytes, ...]:
    """The bytes of `core.v3.HealthCheck.Payload` messages, whose `text` is hexadecimal."""
    return tuple(bytes.fromhex(message.text) for message in messages)


def tcp_probes(
    message: Any,
    connect: Connect,
    connect_check: MakeConnectCheck,
    network: INetwork,
    host_connect: HostConnect | None = None,
    host_connect_check: HostConnectCheck | None = None,
) -> MakeProbe:
    """How hosts are asked by a `core.v3.HealthCheck` with a `tcp_health_check`.

    :param host_connect: what connects in place of `connect`, where it matters which host it is.
    """
    tcp = message.tcp_health_check
    terms = Terms.of(message, connect, network, host_connect)
    expected = payloads(tcp.receive)
    if not expected and host_connect_check is not None:
        check: HostConnectCheck = host_connect_check
        return lambda address, spec, results: ConnectProbe(
            partial(check, spec), address, terms.timeout, results
        )
    if not expected:
        return lambda address, spec, results: ConnectProbe(
            connect_check, address, terms.timeout, results
        )
    question = b"".join(payloads([tcp.send]))
    header = (
        proxy_header(tcp.proxy_protocol_config)
        if tcp.HasField("proxy_protocol_config")
        else _no_header
    )
    return lambda address, spec, results: PayloadProbe(
        terms.of_host(spec), address, results, question, expected, header
    )


def _no_header(transport: Any) -> bytes:
    return b""


def proxy_header(config: Any) -> Callable[[Any], bytes]:
    """The PROXY header of a check (`core.v3.ProxyProtocolConfig`): in version 1 our own addresses,
    in version 2 LOCAL.
    """
    if config.version == config.V2:
        return lambda transport: b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"
    return _proxy_v1


def _proxy_v1(transport: Any) -> bytes:
    here, there = transport.getHost(), transport.getPeer()
    if not there.port:
        return b"PROXY UNKNOWN\r\n"
    family = "TCP6" if ":" in there.host else "TCP4"
    return f"PROXY {family} {here.host} {there.host} {here.port} {there.port}\r\n".encode("ascii")
