"""One address of a listener: bound before the process gives up its privileges, opened when the
workers start.

A listener has one for its own address and one for each of its `additional_addresses`.  An internal
listener, whose clients come from this process itself, has a place of another kind.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from twisted.internet.interfaces import IListeningPort

from tcpmesh.config.fields.values import (
    host_and_port,
    keepalive_settings,
    pipe_mode,
    socket_options,
)
from tcpmesh.connection.transport_sockets import HOPS, Hops
from tcpmesh.interfaces import IAdopts, IHandsOver, INetwork, IPausable
from tcpmesh.net.internal.listeners import InternalListeners
from tcpmesh.net.internal.transport import InternalTransport
from tcpmesh.net.listen import open_socket, take_over
from tcpmesh.values.address import MAPPED, Address
from tcpmesh.values.socket_options import (
    ListenOptions,
    SocketOption,
    fast_open,
    freebind,
    keepalive,
    transparent,
)


class ListenSocket:
    """Where clients come in."""

    def __init__(self, address: Address, options: ListenOptions, network: INetwork) -> None:
        self.address = address
        self.options = options
        self._network = network
        self._sock: Any = None
        self._is_taken_over = self._is_given = False
        self._port: IListeningPort | None = None
        self._adopts: Any = None
        """The port, also once it is closed, where connections may come from other workers."""
        self._beside: list[ListenSocket] = []
        """Sockets of the same address whose queues a process before this one has left."""
        self._is_paused = False

    def bind(self, predecessor: ListenSocket | None) -> None:
        """Bind the address, or take over the socket of a each that is like this one.

        :raise tcpmesh.net.listen.BindError: where the system refuses.
        """
        if predecessor is not None:
            self._sock = predecessor.duplicate()
            self._is_taken_over = self._sock is not None
        if self._sock is None:
            self._sock = self._network.bind(self.address, self.options)
            self._take_rest()
        elif predecessor is not None:
            for each in predecessor._beside:
                self._add_beside(each.duplicate())

    def _take_rest(self) -> None:
        """Let in also whoever waits at the other sockets that workers before this one had."""
        for sock in self._rest():
            self._add_beside(sock)

    def _rest(self) -> Sequence[Any]:
        """What is left of a process before this one that is bound to the same address."""
        address = Address.from_sockaddr(self._sock.family, self._sock.getsockname())
        return [self._own(each) for each in self._network.take_rest(address, self.options)]

    def _own(self, sock: Any) -> Any:
        """A socket that was bound by the port that the system chose."""
        sock.asked = self.address
        return sock

    def _add_beside(self, sock: Any) -> None:
        """Clients wait at this socket too."""
        beside = type(self)(self.address, self.options, self._network)
        beside._sock, beside._is_paused = sock, self._is_paused
        beside._is_taken_over, beside._is_given = not self._is_given, self._is_given
        self._beside.append(beside)

    def take(self, sockets: Sequence[Any]) -> None:
        """Main has bound the address: clients are accepted from these sockets."""
        self._sock, *rest = sockets
        self._is_given = True
        for sock in rest:
            self._add_beside(sock)

    @property
    def binding(self) -> tuple[Any, ...]:
        """What is fixed once the socket is bound.  Of a unix socket that is its path, which nobody
        else can bind as long as this is open; the rest can be changed.
        """
        options = self.options
        if self.address.family == socket.AF_UNIX:
            return (self.address,)
        return (
            self.address,
            options.reuse_port,
            options.mode,
            options.dual_stack,
            options.multipath,
            options.namespace,
            options.before_bind,
            options.after_bind,
            options.after_listen,
        )

    def duplicate(self) -> Any:
        """Another descriptor of the listening socket; `None` where there is none to be had."""
        return self._port.duplicate() if IHandsOver.providedBy(self._port) else None

    def open(self, factory: Any, passes: Callable[[int], bool] | None = None) -> bool:
        """Let clients in; whether it was not open before.

        :param passes: see `tcpmesh.interfaces.INetwork.listen`.
        :raise tcpmesh.net.listen.BindError: where the system refuses to listen on what it let us
            bind.
        """
        if self._sock is None or self._port is not None:
            return False
        if not self._is_given:  # main has let clients wait there, while it was privileged
            self._listen()
        most = self.options.accepts_per_event
        self._port = port = self._network.listen(self._sock, factory, most, passes)
        self._adopts = port if passes is not None and IAdopts.providedBy(port) else None
        if self._is_paused and IPausable.providedBy(self._port):
            self._port.pause_accepting()
        for each in self._beside:
            each.open(factory, passes)
        return True

    def adopt(self, descriptor: int) -> None:
        """Serve a client that another worker has accepted."""
        if self._adopts is None:
            os.close(descriptor)
        else:
            self._adopts.adopt(descriptor)

    def let_go(self) -> None:
        """Nobody is adopted any more: it knows the listener no longer."""
        self._adopts = None

    def _listen(self) -> None:
        if self._is_taken_over and self.address.family == socket.AF_UNIX:
            take_over(self._sock, self.options)
        open_socket(self._sock, self.options)

    def pause(self, pauses: bool) -> None:
        """Let clients wait from now on, also where it is not open yet, or let them wait no more."""
        if pauses is self._is_paused:
            return
        self._is_paused = pauses
        for each in self._beside:
            each.pause(pauses)
        port = self._port
        if IPausable.providedBy(port):
            if pauses:
                port.pause_accepting()
            else:
                port.resume_accepting()

    def close(self) -> None:
        """Let nobody in any more."""
        for each in self._beside:
            each.close()
        if self._port is not None:
            self._port.stopListening()
        elif self._sock is not None and (self._is_taken_over or self._is_given):
            self._sock.close()
        elif self._sock is not None:
            self._sock.close_unopened()
        self._port = self._sock = None

    def withdraw(self) -> None:
        """As `close`, of what was not to be opened after all: no file is left of it."""
        sock, is_own = self._sock, not (self._is_taken_over or self._is_given)
        self.close()
        if sock is not None and is_own:
            sock.remove_file()

    @property
    def bound(self) -> Any:
        """The address, with the port that the system chose where none was asked for."""
        return self._port.getHost() if self._port is not None else self.address

    @property
    def served(self) -> tuple[Address, ...]:
        """The same, and that of IPv4 where an IPv6 socket takes it too."""
        bound: Address = self.bound
        if not self.options.dual_stack:
            return (bound,)
        host = "0.0.0.0" if bound.host == "::" else bound.host.removeprefix(MAPPED)
        return (bound, Address(host, bound.port))


class KeptSocket(ListenSocket):
    """One that is kept for workers, and that nobody accepts from here."""

    _is_open = False

    def another(self) -> KeptSocket:
        """One more of the same address."""
        return KeptSocket(self.address, self.options, self._network)

    def bind_beside(self, other: KeptSocket) -> None:
        """Bind the address that the other one is bound to; both with `reuse_port`.

        :raise tcpmesh.net.listen.BindError: where the system refuses.
        """
        self._sock = self._own(self._network.bind(other.bound, self.options))

    def rest(self) -> list[KeptSocket]:
        """Those of the same address that workers before had more than there are now."""
        found = []
        for sock in self._rest():
            found.append(self.another())
            found[-1]._sock = sock
        return found

    def _take_rest(self) -> None:
        """Each is kept by itself: see `rest`."""

    def duplicate(self) -> Any:
        """Another descriptor of the socket, once it listens."""
        if not self._is_open:
            return None
        copy = self._sock.dup()
        copy.setblocking(False)
        return copy

    @property
    def sock(self) -> Any:
        """The socket, as long as clients are to be accepted from it."""
        return self._sock

    def listen(self) -> None:
        """Have clients wait for those who accept them.

        :raise tcpmesh.net.listen.BindError: where the system refuses to listen on what it let us
            bind.
        """
        if self._sock is not None and not self._is_open:
            self._listen()
            self._is_open = True

    def close(self) -> None:
        """Keep it no more."""
        if self._is_open:
            self._sock.close()
            self._sock = None
            self._is_open = False
        else:
            super().close()

    @property
    def bound(self) -> Address:
        """The address, with the port that the system chose where none was asked for."""
        if self._sock is None:
            return self.address
        return Address.from_sockaddr(self._sock.family, self._sock.getsockname())


class InternalPlace:
    """In place of the listen socket of a `listener.v3.Listener` with `internal_listener`.

    :param listeners: where it is to be found; `None` where nobody connects.
    """

    def __init__(self, name: str, listeners: InternalListeners | None) -> None:
        self.address = Address.internal(name)
        self._name = name
        self._listeners = listeners
        self._factory: Any = None

    @property
    def binding(self) -> tuple[Any, ...]:
        """What tells it from others."""
        return (self.address,)

    @property
    def bound(self) -> Address:
        """The address."""
        return self.address

    @property
    def served(self) -> tuple[Address, ...]:
        """The addresses that clients can have wanted."""
        return (self.address,)

    def bind(self, predecessor: Any) -> None:
        """There is nothing to bind."""

    def take(self, sock: Any) -> None:
        """There is no socket."""

    def open(self, factory: Any) -> bool:
        """Let clients in; whether it was not open before."""
        if self._factory is not None or self._listeners is None:
            return False
        self._factory = factory
        self._listeners.listen(self._name, self.accept)
        return True

    def pause(self, pauses: bool) -> None:
        """Who connects here cannot be let wait, as in Envoy."""

    def close(self) -> None:
        """Let nobody in any more."""
        if self._listeners is not None:
            self._listeners.stop_listening(self._name, self.accept)

    def withdraw(self) -> None:
        """As `close`: it leaves nothing behind."""
        self.close()

    def accept(self, transport: InternalTransport) -> None:
        """There is a client: it brings along what it was given on its way."""
        connection = self._factory.buildProtocol(transport.getPeer())
        info, passed = connection.stream_info, transport.passed
        for name, values in passed.metadata.items():
            info.add_metadata(name, values)
        for key, entry in passed.filter_state.entries.items():
            info.set_filter_state(key, entry.value, entry.read_only, entry.sharing)
        info.set_filter_state(HOPS, Hops(passed.hops))
        transport.start(connection)


Kind = TypeVar("Kind", bound=ListenSocket)


def listen_sockets_of(message: Any, network: INetwork, kind: type[Kind]) -> tuple[Kind, ...]:
    """Those of a `listener.v3.Listener`, its own first; an additional address may have socket
    options, or settings of keepalive, instead of the listener's.  An internal listener has none.
    """
    if message.HasField("internal_listener"):
        return ()
    places = [(message.address, message.socket_options, message)]
    for more in message.additional_addresses:
        own = more.HasField("socket_options")
        options = more.socket_options.socket_options if own else message.socket_options
        places.append((more.address, options, more if _has_keepalive(more) else message))
    return tuple(
        kind(
            Address(*host_and_port(place)),
            _listen_options(message, place, options, keeper),
            network,
        )
        for place, options, keeper in places
    )


def _has_keepalive(message: Any) -> bool:
    return bool(message.HasField("tcp_keepalive"))


def _listen_options(message: Any, address: Any, options: Any, keeper: Any) -> ListenOptions:
    """How one address of a `listener.v3.Listener` is bound, with these socket options and the
    `tcp_keepalive` of `keeper`.
    """
    inet = address.socket_address
    family = Address(*host_and_port(address)).family
    before, after = _own_options(message, family, keeper)
    listening: tuple[SocketOption, ...] = ()
    if message.HasField("tcp_fast_open_queue_length"):
        listening = (fast_open(message.tcp_fast_open_queue_length.value),)
    return ListenOptions(
        name=message.name,
        reuse_port=message.enable_reuse_port.value
        if message.HasField("enable_reuse_port")
        else True,
        backlog=message.tcp_backlog_size.value if message.HasField("tcp_backlog_size") else None,
        mode=pipe_mode(address),
        dual_stack=inet.ipv4_compat,
        multipath=message.enable_mptcp,
        namespace=inet.network_namespace_filepath,
        accepts_per_event=message.max_connections_to_accept_per_socket_event.value,
        before_bind=before + options_at(options, "STATE_PREBIND"),
        after_bind=after + options_at(options, "STATE_BOUND"),
        after_listen=listening + options_at(options, "STATE_LISTENING"),
    )


def _own_options(
    message: Any, family: int, keeper: Any
) -> tuple[tuple[SocketOption, ...], tuple[SocketOption, ...]]:
    """What fields of a listener come to, before its socket is bound and after that.  Clients
    inherit what is set for keepalive.
    """
    before: tuple[SocketOption, ...] = ()
    after: tuple[SocketOption, ...] = ()
    if message.transparent.value:
        before = after = (transparent(family),)
    if message.freebind.value:
        before += (freebind(family),)
    if _has_keepalive(keeper):
        before += keepalive(**keepalive_settings(keeper.tcp_keepalive))
    return before, after


def options_at(messages: Any, state: str) -> tuple[SocketOption, ...]:
    """Those of some `core.v3.SocketOption` that are set in this state."""
    return tuple(SocketOption(*each) for each in socket_options(messages, state))
