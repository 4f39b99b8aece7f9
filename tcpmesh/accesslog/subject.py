"""What a format tells about: one connection at one moment."""

from __future__ import annotations

from dataclasses import dataclass

from tcpmesh.connection.connection import Connection


@dataclass(frozen=True)
class Subject:
    """One connection, as a formatter sees it."""

    connection: Connection

    now: float
    """Seconds of the network's clock, the one that `Connection.opened` is of."""

    wall: float
    """The same moment by the wall clock: seconds since 1970."""

    def time_of(self, moment: float) -> float:
        """When that was, by the wall clock: seconds since 1970.

        :param moment: seconds of the network's clock.
        """
        return self.wall - (self.now - moment)
