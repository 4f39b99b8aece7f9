"""Command lines, and the admin interface that they mean."""

from __future__ import annotations

import tempfile
from pathlib import Path

from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.terminal.options import (
    DEFAULT_ADMIN,
    ConnectionsOptions,
    LookOptions,
    TopOptions,
    admin_address,
)


class OptionsTests(SynchronousTestCase):
    """What can be said."""

    def test_words(self) -> None:
        """Words may stand anywhere, and a sort begins with a minus."""
        options = ConnectionsOptions()
        options.parseOptions(["a=1", "--sort", "-age", "b", "--limit", "5", "--json", "c=~x"])
        self.assertEqual(("a=1", "b", "c=~x"), options["words"])
        self.assertEqual(("-age", 5, 1), (options["sort"], options["limit"], options["json"]))

    def test_wrong(self) -> None:
        """What makes no sense is refused, with what would."""
        cases: tuple[tuple[LookOptions, str, str], ...] = (
            (ConnectionsOptions(), "--limit 0", "--limit: from 1 to"),
            (ConnectionsOptions(), "--limit ten", "not 'ten'"),
            (ConnectionsOptions(), "--interval 0", "--interval: from 0.1"),
            (ConnectionsOptions(), "--interval x", "not 'x'"),
            (ConnectionsOptions(), "--jsn", "did you mean --json?"),
            (TopOptions(), "--view all", "none of overview, listeners"),
            (TopOptions(), "--view hosts --sort -x", "has no field 'x'; there are host, cluster"),
            (TopOptions(), "--sort age", "name a --view"),
            (TopOptions(), "word", "Wrong number of arguments"),
        )
        for options, line, expected in cases:
            error = self.assertRaises(usage.UsageError, options.parseOptions, line.split())
            self.assertIn(expected, str(error))


class AdminTests(SynchronousTestCase):
    """Which admin interface is meant."""

    def of(self, address: str) -> str:
        """That of a configuration with this admin address."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "envoy.yaml"
            path.write_text(f"admin: {{{address}}}" if address else "{}")
            return admin_address("", str(path))

    def test_named(self) -> None:
        """That of --admin; without anything Envoy's usual one."""
        self.assertEqual("unix:/x", admin_address("unix:/x", "/not/there"))
        self.assertEqual(DEFAULT_ADMIN, admin_address("", ""))

    def test_configuration(self) -> None:
        """Where a configuration has it; an address for all is asked at loopback."""
        for address, expected in (
            ("address: {socket_address: {address: 127.0.0.1, port_value: 9}}", "127.0.0.1:9"),
            ("address: {socket_address: {address: 0.0.0.0, port_value: 9}}", "127.0.0.1:9"),
            ("address: {socket_address: {address: '::', port_value: 9}}", "[::1]:9"),
            ("address: {pipe: {path: /run/a}}", "unix:/run/a"),
            ("address: {pipe: {path: '@a'}}", "unix:@a"),
        ):
            self.assertEqual(expected, self.of(address))

    def test_cannot_tell(self) -> None:
        """A configuration without one, with a port of the system's choice, or that cannot be read,
        is an error in one line.
        """
        for address, expected in (
            ("", "has no admin interface"),
            ("address: {socket_address: {address: 127.0.0.1, port_value: 0}}", "with --admin"),
            ("address: 3", "envoy.yaml:1:"),
        ):
            error = self.assertRaises(ValueError, self.of, address)
            self.assertIn(expected, str(error))
            self.assertNotIn("\n", str(error))
        self.assertIn("No such file", str(self.assertRaises(ValueError, admin_address, "", "/no")))
