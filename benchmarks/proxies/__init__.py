"""The proxies of the comparison: how each is configured and started, with its defaults, and with
one worker; tcpmesh and Envoy also with two, tcpmesh also on io_uring, and nginx also as one that
lets either direction end by itself, as tcpmesh and Envoy do.

Every proxy gets a port for each listener that it can have (`benchmarks.proxies.route`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import tools
from benchmarks.process import Child
from benchmarks.proxies.envoy import (
    envoy_command,
    envoy_configuration,
    envoy_version,
    tcpmesh_command,
    tcpmesh_version,
    uses_io_uring,
)
from benchmarks.proxies.haproxy import haproxy_command, haproxy_version
from benchmarks.proxies.nginx import nginx_proxy_command
from benchmarks.proxies.portforward import portforward_command, portforward_version
from benchmarks.proxies.route import ALL, OTHERS, PLAIN, Command, Route

__all__ = ["PROXIES", "Command", "Proxy", "Route", "envoy_configuration"]


@dataclass(frozen=True)
class Proxy:
    """One contestant.

    :ivar require: finds or installs the program; raises `BenchmarkError` where it cannot be had.
    :ivar prepare: writes a configuration below a path without suffix and returns the command.
    :ivar version: what to call its version in the report.
    :ivar listeners: those that it can have, by their names.
    :ivar optional: whether it is no failure of a run that it does not start.
    :ivar verify: looks whether what has started is what it should be; raises `BenchmarkError` else.
    """

    name: str
    require: Callable[[], object]
    prepare: Callable[[Path, Route], Command]
    version: Callable[[], str]
    listeners: tuple[str, ...] = ALL
    optional: bool = False
    verify: Callable[[Child], object] = Child.check


PROXIES = (
    Proxy("tcpmesh", tools.twistd, tcpmesh_command, tcpmesh_version),
    Proxy("envoy", tools.envoy, envoy_command, envoy_version),
    Proxy("tcpmesh-2", tools.twistd, partial(tcpmesh_command, workers=2), tcpmesh_version, PLAIN),
    Proxy("envoy-2", tools.envoy, partial(envoy_command, workers=2), envoy_version, PLAIN),
    Proxy(
        "tcpmesh-uring",
        tools.twistd,
        partial(tcpmesh_command, transport="uring"),
        tcpmesh_version,
        PLAIN,
        optional=True,
        verify=uses_io_uring,
    ),
    Proxy("haproxy", lambda: tools.program("haproxy"), haproxy_command, haproxy_version, OTHERS),
    Proxy("nginx", tools.nginx_stream_directive, nginx_proxy_command, tools.nginx_version, OTHERS),
    Proxy(
        "nginx-half",
        tools.nginx_stream_directive,
        partial(nginx_proxy_command, half_close=True),
        tools.nginx_version,
        PLAIN,
    ),
    Proxy("portforward", tools.twistd, portforward_command, portforward_version, PLAIN),
)
"""All contestants in the order of the report's columns; Envoy is the measure of the others."""
