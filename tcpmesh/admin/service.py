"""The admin interface as a service: binds its address while the process may still bind anything,
serves once it is started.

Its sockets are Twisted's own, whatever the traffic runs on: when something is wrong with that, this
has to answer.  And it may have the descriptors that clients may not.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import Cooperator
from twisted.logger import Logger

from tcpmesh.accesslog.access_logs import AccessLogs
from tcpmesh.admin.guard import Guard
from tcpmesh.admin.site import OPEN, AdminSite
from tcpmesh.admin.table import ENDPOINTS
from tcpmesh.interfaces import IServer
from tcpmesh.net.descriptor_reserve import DescriptorReserve
from tcpmesh.net.listen import BoundSocket, bind, open_socket, take_over
from tcpmesh.net.stock.network import StockNetwork
from tcpmesh.values.address import Address
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.socket_options import ListenOptions

ACCEPTS = 8
"""Clients accepted at once: each costs more than those of a listener, and all others wait."""

OPTIONS = ListenOptions(reuse_port=False)

_log = Logger(namespace="admin")


class AdminService(Service):
    """Serves the admin pages of a server at one address
    (`envoy.config.bootstrap.v3.Admin.address`).

    :param reactor: one that watches descriptors and tells the time (`IReactorFDSet`,
        `IReactorTime`).
    :param cooperator: does what takes long.
    :param options: how its address is bound.
    :param access_logs: where requests are written down, if they are.
    :param guard: what it lets through.
    :param handed: the listening socket, where a process that this one takes over from has it.
    """

    def __init__(
        self,
        server: IServer,
        reactor: Any,
        address: Address,
        cooperator: Cooperator,
        options: ListenOptions = OPTIONS,
        access_logs: AccessLogs | None = None,
        guard: Guard = OPEN,
        handed: socket.socket | None = None,
    ) -> None:
        self.setName("admin")
        self.site = AdminSite(server, ENDPOINTS, reactor, cooperator, access_logs, guard)
        self._access_logs = access_logs
        self._server = server
        self._address = address
        self._options = options
        self._network = StockNetwork(reactor, DescriptorReserve(reactor, reserve=0))
        self._port: IListeningPort | None = None
        self._bound = address
        self._sock: BoundSocket | None = None
        """What is listened to, as long as it is."""
        self._handed = handed

    @property
    def bound_address(self) -> str:
        """Where it listens, with the real port where port 0 was asked for."""
        return str(self._bound)

    def privilegedStartService(self) -> None:
        """Bind, and write the address where `--admin-address-path` says.

        :raise tcpmesh.net.listen.BindError: where the system refuses the address.
        """
        super().privilegedStartService()
        with all_or_nothing() as undo:
            if self._handed is not None:
                sock = BoundSocket(fileno=self._handed.detach())
                sock.setblocking(False)
                take_over(sock, self._options)
            else:
                sock = bind(self._address, self._options)
            undo.callback(sock.close_unopened)
            self._bound = Address.from_sockaddr(sock.family, sock.getsockname())
            self._sock = sock
            if self._handed is None:
                self.serve()
        _log.info("admin address: {address}", address=self.bound_address)
        self._write_address()

    def serve(self) -> None:
        """Let clients in, if they are not yet: with a socket that was handed over they are only
        once its process lets nobody in any more.
        """
        if self._port is None and self._sock is not None:
            open_socket(self._sock, self._options)
            self._port = self._network.listen(self._sock, self.site, ACCEPTS)

    @property
    def listening(self) -> tuple[Address, BoundSocket] | None:
        """The address that was asked for, and what is listened to."""
        return (self._address, self._sock) if self._sock is not None else None

    def stop_listening(self) -> None:
        """Let nobody in any more: another process does."""
        port, self._port, self._sock = self._port, None, None
        if port is not None:
            port.stopListening()

    def startService(self) -> None:
        """Serve; binds first if that was not done with more privileges before."""
        if self._sock is None:
            self.privilegedStartService()
        super().startService()

    def stopService(self) -> Deferred[None]:
        """Close the listening socket and the connections of clients, at once; fires when that is
        done.
        """
        super().stopService()
        if self._port is None and self._sock is not None:
            self._sock.close()
        self._port = self._sock = None
        return self._network.stop().addCallback(self._close_logs)

    def log_to(self, access_logs: AccessLogs | None) -> None:
        """Write requests down here from now on."""
        before, self._access_logs = self._access_logs, access_logs
        self.site.log_to(access_logs)
        if before is not None:
            before.close()

    def _close_logs(self, _: None) -> None:
        logs, self._access_logs = self._access_logs, None
        if logs is not None:
            logs.close()

    def _write_address(self) -> None:
        path = self._server.options.admin_address_path
        if not path:
            return
        try:
            Path(path).write_text(self.bound_address)
        except OSError as e:
            _log.error(
                "cannot write the admin address to {path}: {reason}", path=path, reason=e.strerror
            )
