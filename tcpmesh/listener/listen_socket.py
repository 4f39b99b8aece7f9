"""One address of a listener: bound before the process gives up its privileges, opened when the
workers start.

A listener has one for its own address and one for each of its `additional_addresses`.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.interfaces import IListeningPort

from tcpmesh.config.fields.values import host_and_port, pipe_mode, socket_options
from tcpmesh.interfaces import IHandsOver, INetwork
from tcpmesh.net.listen import open_socket, take_over
from tcpmesh.values.address import Address
from tcpmesh.values.socket_options import ListenOptions, SocketOption


class ListenSocket:
    """Where clients come in."""

    def __init__(self, address: Address, options: ListenOptions, network: INetwork) -> None:
        self.address = address
        self.options = options
        self._network = network
        self._sock: Any = None
        self._is_taken_over = False
        self._port: IListeningPort | None = None

    def bind(self, predecessor: ListenSocket | None) -> None:
        """Bind the address, or take over the socket of a each that is like this one.

        :raise tcpmesh.net.listen.BindError: where the system refuses.
        """
        if predecessor is not None:
            self._sock = predecessor.duplicate()
            self._is_taken_over = self._sock is not None
        if self._sock is None:
            self._sock = self._network.bind(self.address, self.options)

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
            options.before_bind,
            options.after_bind,
            options.after_listen,
        )

    def duplicate(self) -> Any:
        """Another descriptor of the listening socket; `None` where there is none to be had."""
        return self._port.duplicate() if IHandsOver.providedBy(self._port) else None

    def open(self, factory: Any) -> bool:
        """Let clients in; whether it was not open before.

        :raise tcpmesh.net.listen.BindError: where the system refuses to listen on what it let us
            bind.
        """
        if self._sock is None or self._port is not None:
            return False
        if self._is_taken_over and self.address.family == socket.AF_UNIX:
            take_over(self._sock, self.options)
        open_socket(self._sock, self.options)
        self._port = self._network.listen(self._sock, factory, self.options.accepts_per_event)
        return True

    def close(self) -> None:
        """Let nobody in any more."""
        if self._port is not None:
            self._port.stopListening()
        elif self._is_taken_over and self._sock is not None:
            self._sock.close()
        elif self._sock is not None:
            self._sock.close_unopened()
        self._port = self._sock = None

    def withdraw(self) -> None:
        """As `close`, of what was not to be opened after all: no file is left of it."""
        sock, is_own = self._sock, not self._is_taken_over
        self.close()
        if sock is not None and is_own:
            sock.remove_file()

    @property
    def bound(self) -> Any:
        """The address, with the port that the system chose where none was asked for."""
        return self._port.getHost() if self._port is not None else self.address


def listen_sockets_of(message: Any, network: INetwork) -> tuple[ListenSocket, ...]:
    """Those of a `listener.v3.Listener`, its own first; an additional address may have socket
    options instead of the listener's.
    """
    places = [(message.address, message.socket_options)]
    for more in message.additional_addresses:
        own = more.HasField("socket_options")
        places.append(
            (more.address, more.socket_options.socket_options if own else message.socket_options)
        )
    return tuple(
        ListenSocket(Address(*host_and_port(place)), _listen_options(message, place, each), network)
        for place, each in places
    )


def _listen_options(message: Any, address: Any, options: Any) -> ListenOptions:
    """How one address of a `listener.v3.Listener` is bound, with these socket options."""
    return ListenOptions(
        reuse_port=message.enable_reuse_port.value
        if message.HasField("enable_reuse_port")
        else True,
        backlog=message.tcp_backlog_size.value if message.HasField("tcp_backlog_size") else None,
        mode=pipe_mode(address),
        accepts_per_event=message.max_connections_to_accept_per_socket_event.value,
        before_bind=_socket_options(options, "STATE_PREBIND"),
        after_bind=_socket_options(options, "STATE_BOUND"),
        after_listen=_socket_options(options, "STATE_LISTENING"),
    )


def _socket_options(messages: Any, state: str) -> tuple[SocketOption, ...]:
    return tuple(SocketOption(*each) for each in socket_options(messages, state))
