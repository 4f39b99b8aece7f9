"""A relay on its way to another process: what is to be known of it beside its two descriptors."""

from __future__ import annotations

from dataclasses import replace

from tcpmesh.facts import dataclass
from tcpmesh.values.address import Address

NO_DESCRIPTORS = "the process that takes over has no descriptors left"
NOT_YET = "it is not connected to a host yet"
NONE_LEFT = "there were no descriptors left for sending it"
TOO_MUCH = "too many bytes of it are on their way"
PASSING = frozenset((NOT_YET, TOO_MUCH))
"""Why a client cannot leave just now, and perhaps can soon."""

MOST_ON_THE_WAY = 4 << 20
"""Bytes that one which leaves may have that its client or its host has not taken yet."""


LONGEST_WAY = 60.0
"""Seconds that a client is on its way at most: where it seems to be longer, the clock that it left
by is another one.
"""


@dataclass(frozen=True)
class MovedSocket:
    """A connected socket that somebody else goes on with."""

    family: int
    """As `socket.socket.family` has it."""

    peer: Address
    """The other side's address."""

    local: Address
    """This side's."""

    unread: bytes = b""
    """Bytes that were read, and are to be delivered before all others."""

    unsent: bytes = b""
    """Bytes that were written, and that the kernel has not taken."""

    dropped: int = 0
    """Bytes that were written and are lost."""

    has_ended: bool = False
    """Whether the other side has sent all it will."""

    is_half_closed: bool = False
    """Whether this side has, once `unsent` has left."""

    pauses: bool = False
    """Whether its producer is paused until some of that has left."""


@dataclass(frozen=True)
class MovedDirection:
    """One direction of a relay, and the socket that its bytes come from."""

    source: MovedSocket
    bytes: int = 0
    """Read from the source so far."""

    pauses: int = 0
    resumes: int = 0
    """How often the source was paused and resumed."""

    full: bool = False
    """Whether it is paused now."""


@dataclass(frozen=True)
class MovedRelay:
    """Both directions."""

    from_downstream: MovedDirection
    from_upstream: MovedDirection
    quiet: int = 0
    """How often in a row it was looked at and found idle."""


@dataclass(frozen=True)
class MovedConnection:
    """A client, its relay and its host, by their names: the process that goes on with them has a
    configuration of its own.  Times count from the moment at which it left.
    """

    listener: str
    filter_chain: str
    cluster: str
    """The cluster whose host it has."""

    asked_cluster: str
    """The one that was asked for a host: another one where that is an aggregate."""

    host: Address
    relay: MovedRelay
    id: int = 0
    """As `StreamInfo.id` has it."""

    age: float = 0.0
    """Seconds since it was accepted."""

    connecting_since: float = 0.0
    """... since the connection to the host was begun."""

    connected_since: float = 0.0
    """... since that was there."""

    expires_in: float | None = None
    """Seconds that it may still live; `None` without a limit."""

    counted: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Bytes that statistics have already, as `StreamInfo.bytes` has them."""

    server_name: str = ""
    application_protocols: tuple[str, ...] = ()
    transport_protocol: str = ""
    ja3: str = ""
    ja4: str = ""
    """What its first bytes have said."""

    restored_remote: Address | None = None
    restored_local: Address | None = None
    """Where it came from and wanted to go, where a listener filter knows it better than the
    socket.
    """

    flags: int = 0
    """Its response flags so far."""

    left: float | None = None
    """What the monotonic clock said when it left: all processes of a machine have the same one."""

    def arrived(self, now: float) -> MovedConnection:
        """The same at this moment of that clock: its times have gone on while it was on its way."""
        way = 0.0 if self.left is None else now - self.left
        if not 0.0 < way <= LONGEST_WAY:
            return self
        return replace(
            self,
            age=self.age + way,
            connecting_since=self.connecting_since + way,
            connected_since=self.connected_since + way,
            expires_in=None if self.expires_in is None else self.expires_in - way,
            left=now,
        )
