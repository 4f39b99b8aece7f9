"""What a `target_uri` of a `google_grpc` means.

It is written as gRPC's own library takes it (naming.md there): `host:port` and `dns:///host:port`,
`ipv4:` and `ipv6:` with one address or several, `unix:` and `unix-abstract:`.
"""

from __future__ import annotations

from typing import Any

from tcpmesh.facts import dataclass
from tcpmesh.values.address import Address
from tcpmesh.wire.names import is_numeric

DEFAULT_PORT = 443


class WrongTarget(ValueError):
    """A target that cannot be connected to; the text says why."""


@dataclass(frozen=True)
class Place:
    """What a target means."""

    authority: str
    """What calls have as `:authority`."""

    addresses: tuple[Address, ...] = ()
    name: str = ""
    """A name to be resolved, where there are no addresses."""

    port: int = 0


def place(target: str) -> Place:
    """Read a target.

    :raise WrongTarget: where it is none.
    """
    scheme, colon, rest = target.partition(":")
    if colon and scheme in ("unix", "unix-abstract"):
        path = rest.removeprefix("//") if scheme == "unix" else f"@{rest}"
        if path in ("", "@"):
            raise WrongTarget(f"{target!r} names no socket")
        path = path if path.startswith(("/", "@", "./")) else f"./{path}"
        return Place("localhost", (Address(path),))
    if colon and scheme in ("ipv4", "ipv6"):
        pairs = [_host_and_port(each, target) for each in rest.split(",")]
        if not all(is_numeric(host) for host, _ in pairs):
            raise WrongTarget(f"{target!r} has something else than addresses")
        return Place(rest.partition(",")[0], tuple(Address(host, port) for host, port in pairs))
    if (colon and rest.startswith("//")) or scheme == "dns":
        if scheme != "dns":
            raise WrongTarget(f"{target!r} has a scheme that is not supported: {scheme}")
        target = rest
        if rest.startswith("//"):
            server, _, target = rest[2:].partition("/")
            if server:
                raise WrongTarget(f"{rest!r} names a DNS server of its own")
    host, port = _host_and_port(target, target)
    if is_numeric(host):
        return Place(target, (Address(host, port),))
    return Place(target, (), host, port)


def _host_and_port(text: str, target: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if text.endswith("]") or not colon:
        host, port = text, str(DEFAULT_PORT)
    if host.startswith("["):
        host = host.removeprefix("[").removesuffix("]")
    elif ":" in host:
        host, port = text, str(DEFAULT_PORT)
    if not host or not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 1 << 16):
        raise WrongTarget(f"{target!r} is no host with a port")
    return host, int(port)


def destination(message: Any) -> str:
    """Where the calls of a `core.v3.GrpcService` go, in words."""
    if message.HasField("google_grpc"):
        return f"target {message.google_grpc.target_uri!r}"
    return f"cluster {message.envoy_grpc.cluster_name!r}"
