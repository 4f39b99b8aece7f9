"""Names without DNS."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.wire.names import is_numeric, parse_hosts


class HostsTests(SynchronousTestCase):
    """The format of /etc/hosts."""

    def test_format(self) -> None:
        """A line is an address and its names; case, comments and blanks make no difference;
        addresses of a name add up.
        """
        text = "# a comment\n127.0.0.1\tlocalhost  Vm # here\n::1 localhost.\n\n192.0.2.1 one\n"
        expected = {"localhost": ("127.0.0.1", "::1"), "vm": ("127.0.0.1",), "one": ("192.0.2.1",)}
        self.assertEqual(expected, parse_hosts(text))

    def test_nonsense(self) -> None:
        """Lines that make no sense are passed over."""
        self.assertEqual(
            {"a": ("127.0.0.2",)},
            parse_hosts("nonsense\n127.0.0.1\n1.2.3 b\n300.1.1.1 c\n\x00 d\n127.0.0.2 a"),
        )


class NumericTests(SynchronousTestCase):
    """What is an address already."""

    def test_numeric(self) -> None:
        """IPv4 in four parts, and IPv6 without brackets."""
        self.assertEqual(
            [True, True, True], [is_numeric(text) for text in ("127.0.0.1", "::1", "2001:db8::1")]
        )
        self.assertEqual(
            [False] * 4, [is_numeric(text) for text in ("", "a.test", "127.1", "[::1]")]
        )
