"""What main and its fork server tell each other, as bytes."""

from __future__ import annotations

from typing import get_args

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.server.channel.framing import FramingError
from tcpmesh.server.link.frames import Table
from tcpmesh.server.processes.messages import (
    FROM_FORK_SERVER,
    TO_FORK_SERVER,
    Become,
    Exited,
    Fork,
    Forked,
    ForkFailed,
    FromForkServer,
    Import,
    Kill,
    LogSettings,
    ToForkServer,
    decode,
)

LOG = LogSettings("/var/log/x", "%v", True, "warning", (("upstream", "debug"),))


class MessagesTests(SynchronousTestCase):
    """Both tables."""

    def check(self, table: Table, kinds: object, *messages: object) -> None:
        """These are all that there are, and each is read as it was written."""
        self.assertEqual({type(each) for each in messages}, set(get_args(kinds)))
        for each in messages:
            self.assertEqual(decode(table, table.encode(each)), each)

    def test_to_fork_server(self) -> None:
        """What main says is read as it was written."""
        self.check(
            TO_FORK_SERVER,
            ToForkServer,
            Import(("a", "b.c")),
            Become(65534, 65534, (1, 2)),
            Fork(1, "some.reactor", 0.1, LOG),
            Kill(4711),
        )

    def test_from_fork_server(self) -> None:
        """What the fork server says is read as it was written."""
        failed = ForkFailed(1, "Cannot allocate memory")
        self.check(FROM_FORK_SERVER, FromForkServer, Forked(1, 4711), failed, Exited(4711, 9))

    def test_nonsense(self) -> None:
        """What is no message is the end of a link."""
        for body in (b"", b"\xff\xff", TO_FORK_SERVER.encode(Kill(1)) + b"x"):
            self.assertRaises(FramingError, decode, TO_FORK_SERVER, body)
