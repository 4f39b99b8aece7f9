"""Where a socket is bound or connected: Envoy's text form, the kernel's form and Twisted's
interface in one small value.
"""

from __future__ import annotations

import socket
from typing import Any

from zope.interface import implementer

from twisted.internet.interfaces import IAddress

PATHS = ("/", "@", ".")
"""How the host of a unix socket begins: an absolute path, an abstract one or a relative one."""

MAPPED = "::ffff:"
"""How an IPv4 address is written as one of IPv6."""

INTERNAL = "envoy://"
"""How the host of a listener in this process begins: its name follows, a slash, and an id."""

IP_FAMILIES = frozenset((socket.AF_INET, socket.AF_INET6))


def relative(path: str) -> str:
    """A path of a unix socket as the host of an address: a relative one begins with a dot."""
    return path if not path or path.startswith(PATHS) else f"./{path}"


@implementer(IAddress)
class Address:
    """An IPv4, IPv6 or unix-socket address, or that of a listener in this process.

    `host` is the numeric address, the path of a unix socket (an abstract one begins with `@`, a
    relative one with `./`), or such a text as `envoy://name/id`, and then the family is AF_UNSPEC;
    `port` is 0 for those.
    """

    __slots__ = ("family", "host", "port")

    def __init__(self, host: str, port: int = 0) -> None:
        self.host = host
        self.port = port
        if host.startswith(PATHS):
            self.family = socket.AF_UNIX
        elif ":" not in host:
            self.family = socket.AF_INET
        else:
            is_internal = host.startswith(INTERNAL)
            self.family = socket.AF_UNSPEC if is_internal else socket.AF_INET6

    @classmethod
    def internal(cls, listener: str, endpoint: str = "") -> Address:
        """The address of a listener in this process (`core.v3.EnvoyInternalAddress`).

        :param listener: its name.
        :param endpoint: what tells one use of it from another.
        """
        return cls(f"{INTERNAL}{listener}/{endpoint}")

    @classmethod
    def from_sockaddr(cls, family: int, sockaddr: Any) -> Address:
        """The address that `getsockname`, `getpeername` or `accept` of a socket of this family
        gave.
        """
        if family != socket.AF_UNIX:
            return cls(sockaddr[0], sockaddr[1])
        if isinstance(sockaddr, bytes):
            return cls("@" + sockaddr.lstrip(b"\0").decode(errors="surrogateescape"))
        return cls(relative(sockaddr) or "@")

    @classmethod
    def of_end(cls, family: int, sockaddr: Any) -> Address:
        """The same, of either end of a connection: where an IPv6 socket takes IPv4 too, a client by
        IPv4 has an IPv4 address.
        """
        if family == socket.AF_INET:  # What each client has: nothing has to be found out.
            address = cls.__new__(cls)
            address.family = socket.AF_INET
            address.host, address.port = sockaddr
            return address
        if family == socket.AF_INET6 and sockaddr[0].startswith(MAPPED):
            return cls(sockaddr[0][len(MAPPED) :], sockaddr[1])
        return cls.from_sockaddr(family, sockaddr)

    @classmethod
    def from_text(cls, text: str) -> Address:
        """The IP address and port that a text such as `127.0.0.1:80` or `[::1]:80` gives.

        :raise ValueError: where it gives none.
        """
        host, _, port = text.rpartition(":")
        family = socket.AF_INET
        if host.startswith("[") and host.endswith("]"):
            host, family = host[1:-1], socket.AF_INET6
        if not (port.isascii() and port.isdecimal() and int(port) <= 65535):
            raise ValueError(f"{text!r} has no port")
        try:
            return cls(socket.inet_ntop(family, socket.inet_pton(family, host)), int(port))
        except OSError:
            raise ValueError(f"{text!r} has no IP address") from None

    @property
    def is_ip(self) -> bool:
        """Whether it is an IP address, with a port."""
        return self.family in IP_FAMILIES

    @property
    def is_internal(self) -> bool:
        """Whether it is a listener in this process."""
        return self.family == socket.AF_UNSPEC

    @property
    def listener_and_endpoint(self) -> tuple[str, str]:
        """Of a listener in this process: its name, and the id behind it.  Where the id has a slash,
        what is before that counts as the name's.
        """
        name, _, endpoint = self.host.removeprefix(INTERNAL).rpartition("/")
        return name, endpoint

    @property
    def sockaddr(self) -> Any:
        """What `bind` and `connect` take."""
        if self.family == socket.AF_UNIX:
            return (
                "\0" + self.host[1:] if self.host.startswith("@") else self.host.removeprefix("./")
            )
        return (self.host, self.port)

    def __str__(self) -> str:
        if self.family == socket.AF_INET:
            return f"{self.host}:{self.port}"
        if self.family == socket.AF_INET6:
            return f"[{self.host}]:{self.port}"
        return self.host

    def __repr__(self) -> str:
        return f"<Address {self}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and (self.host, self.port) == (other.host, other.port)

    def __hash__(self) -> int:
        return hash((self.host, self.port))
