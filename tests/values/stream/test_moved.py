"""What is known of a client on its way."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.values.address import Address
from tcpmesh.values.stream.moved import (
    LONGEST_WAY,
    MovedConnection,
    MovedDirection,
    MovedRelay,
    MovedSocket,
)

NOWHERE = Address("127.0.0.1", 1)
DIRECTION = MovedDirection(MovedSocket(2, NOWHERE, NOWHERE))
CLIENT = MovedConnection(
    "l",
    "",
    "c",
    "c",
    NOWHERE,
    MovedRelay(DIRECTION, DIRECTION),
    age=50.0,
    connecting_since=40.0,
    connected_since=30.0,
    expires_in=20.0,
    left=1000.0,
)


class ArrivedTests(SynchronousTestCase):
    """`MovedConnection.arrived`."""

    def test_times(self) -> None:
        """Times have gone on while it was on its way."""
        expected = replace(
            CLIENT,
            age=52.0,
            connecting_since=42.0,
            connected_since=32.0,
            expires_in=18.0,
            left=1002.0,
        )
        self.assertEqual(expected, CLIENT.arrived(1002.0))

    def test_no_limit(self) -> None:
        """Where it has no end it still has none."""
        self.assertIs(None, replace(CLIENT, expires_in=None).arrived(1002.0).expires_in)

    def test_another_clock(self) -> None:
        """Where the clock it left by is unknown, or another one than here, they have not."""
        for left in (None, 1002.5, 1001.5 - LONGEST_WAY):
            moved = replace(CLIENT, left=left)
            self.assertEqual(moved, moved.arrived(1002.0))
