"""A proxy as a part of another program, of Twisted or asyncio: what `twistd tcpmesh` serves,
without what it does to its process.

Nothing here touches what belongs to the program: signals, the garbage collector, limits, the log,
the working directory.  Events are those of `twisted.logger`, for whoever observes them.  The
connections are served in the program's own reactor, by one worker, and when `Proxy.stop` has fired
nothing of the proxy is left there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from os import PathLike, fspath
from types import TracebackType
from typing import Any

from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.python.failure import Failure

from tcpmesh.config.checks.limits import open_files
from tcpmesh.config.load import load
from tcpmesh.config.text.problems import ConfigError, Problem
from tcpmesh.logs.levels import Levels
from tcpmesh.server.rehearsal import extension_problems
from tcpmesh.server.service import CannotStart, Server
from tcpmesh.values.server_options import ServerOptions
from tcpmesh.values.statuses import ListenerStatus

__all__ = ["CannotStart", "ConfigError", "Problem", "Proxy"]

ARGUMENT = "config_yaml"


class Proxy:
    """Serves an Envoy v3 bootstrap in this process, as often as it is started.

    In a coroutine of Twisted, or of asyncio where the reactor is that of
    `twisted.internet.asyncioreactor`::

        async with Proxy("envoy.yaml") as proxy:
            port = proxy.port("front")

    Elsewhere `start` and `stop` return Deferreds.  Making one judges the configuration, which for a
    large one takes seconds.

    :param config_path: a file, as for `--config-path`.
    :param config_yaml: YAML that is merged over the file or over `bootstrap`, or stands for itself,
        as for `--config-yaml`.
    :param bootstrap: in place of a file, an `envoy.config.bootstrap.v3.Bootstrap`, or a dictionary
        with what its JSON would have.
    :param allow_unknown_fields: as `--allow-unknown-static-fields`.
    :param allow_unsupported: as `--allow-unsupported`.
    :param reactor: the one to serve on; the program's, if not given.
    :raise ConfigError: where the configuration is wrong, with all that is wrong with it.
    """

    def __init__(
        self,
        config_path: str | PathLike[str] = "",
        *,
        config_yaml: str = "",
        bootstrap: Bootstrap | Mapping[str, Any] | None = None,
        allow_unknown_fields: bool = False,
        allow_unsupported: bool = False,
        reactor: Any = None,
    ) -> None:
        if config_path and bootstrap is not None:
            raise TypeError("there can be config_path or bootstrap, not both")
        loaded = load(
            fspath(config_path),
            config_yaml,
            allow_unknown_fields=allow_unknown_fields,
            allow_unsupported=allow_unsupported,
            open_files=open_files(),
            given=bootstrap,
            argument=ARGUMENT,
        )
        wrong = extension_problems(loaded)
        if wrong:
            raise ConfigError(wrong, loaded.warnings, loaded.sources)
        self.warnings: tuple[Problem, ...] = loaded.warnings
        """What is legal in the configuration, and surely not meant."""
        self._bootstrap = loaded.bootstrap
        self._options = ServerOptions(
            config_path=fspath(config_path),
            config_yaml=config_yaml,
            allow_unknown_static_fields=allow_unknown_fields,
            allow_unsupported=allow_unsupported,
        )
        self._reactor = reactor
        self._server: Server | None = None
        self._starting: Deferred[None] | None = None
        self._trigger: Any = None

    # Its life

    def start(self) -> Deferred[None]:
        """Bind all addresses, and serve once the clusters know their hosts.

        :return: fires when clients are accepted; with `CannotStart` where that cannot be, once
            nothing is left of the attempt.  To cancel it stops the proxy, and so does `stop`.
        :raise RuntimeError: where it is started already, or not stopped yet.
        """
        if self._server is not None:
            raise RuntimeError("this proxy is started already, or has not stopped yet")
        reactor = self._reactor or _reactor()
        started = self._starting = Deferred(self._cancelled)
        levels = Levels(self._options.log_level, {})
        server = self._server = Server(reactor, self._bootstrap, self._options, levels)
        server.on_quit = self.stop
        server.live.addCallbacks(self._serves, self._failed)
        self._trigger = reactor.addSystemEventTrigger("before", "shutdown", self._shut_down)
        try:
            server.startService()
        except Exception:
            self._failed(Failure())
        return started

    def stop(self) -> Deferred[None]:
        """Accept no more, and close all that is open.

        :return: fires when nothing of the proxy is left: no connection, no timer, no descriptor;
            at once where it is not started.
        """
        server, starting = self._server, self._starting
        if server is None:
            return succeed(None)
        self._starting = None
        if starting is not None:
            starting.errback(CancelledError())
        return server.stopService().addBoth(self._stopped, server)

    async def __aenter__(self) -> Proxy:
        """Start; to be awaited by a coroutine of Twisted or of asyncio."""
        try:
            await _awaitable(self.start())
        except BaseException:
            await _awaitable(self.stop())
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        await _awaitable(self.stop())

    def _cancelled(self, _: Deferred[None]) -> None:
        """Nobody waits for the start any more."""
        self._starting = None
        self.stop()

    def _serves(self, _: None) -> None:
        started, self._starting = self._starting, None
        if started is not None:
            started.callback(None)

    def _failed(self, failure: Failure) -> None:
        started, self._starting = self._starting, None
        stopped = self.stop()
        if started is not None:
            stopped.addBoth(lambda _: started.errback(failure))

    def _stopped(self, result: Any, server: Server) -> Any:
        if self._server is server:
            self._server = None
            trigger, self._trigger = self._trigger, None
            if trigger is not None:
                server.reactor.removeSystemEventTrigger(trigger)
        return result

    def _shut_down(self) -> Deferred[None]:
        """The reactor stops."""
        self._trigger = None
        return self.stop()

    # What it is reached by

    def addresses(self, listener: str) -> tuple[str, ...]:
        """What a listener is bound to, such as `127.0.0.1:40123`, with the real port where the
        configuration has port 0.

        :raise LookupError: where there is no such listener, or `start` has not fired yet.
        """
        statuses: Sequence[ListenerStatus] = ()
        if self._server is not None and self._starting is None:
            statuses = self._server.listener_statuses()
        found = {status.name: status.addresses for status in statuses}
        if listener not in found:
            there = ", ".join(found) or "none"
            raise LookupError(f"no listener named {listener!r} is open; there are: {there}")
        return found[listener]

    def port(self, listener: str) -> int:
        """The port of the first address of a listener.

        :raise LookupError: as `addresses`, and where that is a unix socket.
        """
        return _port(self.addresses(listener)[0])

    @property
    def admin_address(self) -> str:
        """What the admin interface is bound to.

        :raise LookupError: where the configuration has none, or nothing is started.
        """
        services = self._server.namedServices if self._server is not None else {}
        if "admin" not in services:
            raise LookupError("no admin interface is open")
        return str(services["admin"].bound_address)

    @property
    def admin_port(self) -> int:
        """Its port.

        :raise LookupError: as `admin_address`, and where that is a unix socket.
        """
        return _port(self.admin_address)


def _port(address: str) -> int:
    _, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal():
        raise LookupError(f"{address!r} has no port")
    return int(port)


def _in_asyncio() -> bool:
    """Whether a task of asyncio is what runs now."""
    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False


def _reactor() -> Any:
    """The program's reactor.

    :raise CannotStart: in a task of asyncio, where the reactor does not run in its loop.
    """
    from twisted.internet import reactor

    if _in_asyncio() and not isinstance(reactor, AsyncioSelectorReactor):
        raise CannotStart(
            f"Twisted's reactor is {type(reactor).__name__}, which does not run in asyncio's loop: "
            "call twisted.internet.asyncioreactor.install() before anything imports the reactor"
        )
    return reactor


def _awaitable(deferred: Deferred[None]) -> Awaitable[None]:
    """A Deferred as whoever runs this coroutine takes it."""
    if _in_asyncio():
        return deferred.asFuture(asyncio.get_running_loop())
    return deferred
