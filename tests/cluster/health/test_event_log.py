"""Event logs as files."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

from envoy.config.core.v3 import base_pb2

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.accesslog.opening import CannotLog
from tcpmesh.cluster.health.event_log import (
    EventLog,
    address_event,
    host_event,
    metadata_event,
    timestamp,
)
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import HostSpec
from tests.mesh import parse


class EventLogTests(SynchronousTestCase):
    """A file of events."""

    def setUp(self) -> None:
        """A log."""
        self.path = Path(self.mktemp())
        self.log = EventLog(str(self.path))
        self.addCleanup(self.log.close)

    def lines(self) -> list[object]:
        """The events in the file."""
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def test_appends(self) -> None:
        """Each event is a line of JSON, there at once, after those that were there before."""
        self.log.write({"a": 1})
        other = EventLog(str(self.path))
        other.write({"b": "\u00fc\n"})
        other.close()
        self.assertEqual([{"a": 1}, {"b": "\u00fc\n"}], self.lines())

    def test_reopen(self) -> None:
        """After the file was moved away a new one is begun when told to, which as many may
        read.
        """
        self.log.write({"a": 1})
        self.path.chmod(0o600)
        moved = self.path.rename(self.mktemp())
        self.log.write({"b": 2})
        self.log.reopen()
        self.log.write({"c": 3})
        self.assertEqual(([{"c": 3}], 2), (self.lines(), len(moved.read_text().splitlines())))
        self.assertEqual(0o600, self.path.stat().st_mode & 0o7777)

    def test_reopen_in_vain(self) -> None:
        """Where there can be no new file the old one goes on."""
        folder = Path(self.mktemp())
        folder.mkdir()
        log = EventLog(str(folder / "log"))
        self.addCleanup(log.close)
        moved = Path(self.mktemp())
        folder.rename(moved)
        log.reopen()
        log.write({"a": 1})
        self.assertEqual(1, len((moved / "log").read_text().splitlines()))

    def test_cannot_open(self) -> None:
        """A file that cannot be opened is an error that names it."""
        path = os.path.join(self.mktemp(), "no", "log")
        self.assertIn(path, str(self.assertRaises(CannotLog, EventLog, path)))

    def test_close(self) -> None:
        """To close twice, or to write after it, does no harm."""
        self.log.close()
        self.log.close()
        self.log.write({"a": 1})
        self.assertEqual([], self.lines())


class FormTests(SynchronousTestCase):
    """Values in events."""

    def test_metadata(self) -> None:
        """A host's metadata is in its events, where it has any."""
        metadata = parse(base_pb2.Metadata, "filter_metadata: {envoy.lb: {a: [1, b, 0.5]}}")
        spec = HostSpec(Address("127.0.0.1", 80), metadata=metadata)
        event = host_event("TCP", "c", spec, 0.0, "add_healthy_event", {})
        wanted = (
            '{"filter_metadata": {"envoy.lb": {"a": [1, "b", 0.5]}}, "typed_filter_metadata": {}}'
        )
        self.assertEqual(wanted, json.dumps(event["metadata"]))
        self.assertNotIn(
            "metadata",
            host_event("TCP", "c", replace(spec, metadata=None), 0.0, "add_healthy_event", {}),
        )

    def test_typed_metadata(self) -> None:
        """Of typed metadata that is written of which the type is known."""
        url = "type.googleapis.com/"
        known = f"known: {{'@type': {url}envoy.config.core.v3.Locality, region: r}}"
        metadata = parse(base_pb2.Metadata, f"typed_filter_metadata: {{{known}}}")
        metadata.typed_filter_metadata["unknown"].type_url = url + "no.such.Type"
        place = {
            "@type": url + "envoy.config.core.v3.Locality",
            "region": "r",
            "zone": "",
            "sub_zone": "",
        }
        self.assertEqual({"known": place}, metadata_event(metadata)["typed_filter_metadata"])

    def test_order(self) -> None:
        """The fields of an event come in Envoy's order, which is that of its message."""
        head, tail = ["health_checker_type", "host", "cluster_name"], ["metadata", "locality"]
        for event, wanted in (
            ("add_healthy_event", [*head, "add_healthy_event", "timestamp", *tail]),
            ("degraded_healthy_host", [*head, "timestamp", "degraded_healthy_host", *tail]),
            (
                "successful_health_check_event",
                [*head, "timestamp", *tail, "successful_health_check_event"],
            ),
        ):
            spec = HostSpec(Address("127.0.0.1", 80), metadata=base_pb2.Metadata())
            self.assertEqual(wanted, list(host_event("TCP", "c", spec, 0.0, event, {})))

    def test_timestamp(self) -> None:
        """Times are UTC with milliseconds."""
        self.assertEqual("2001-09-09T01:46:40.250Z", timestamp(1_000_000_000.25))

    def test_address(self) -> None:
        """Addresses are written out as Envoy's messages, defaults and all."""
        self.assertEqual({"pipe": {"path": "/run/s", "mode": 0}}, address_event(Address("/run/s")))
        self.assertEqual(
            {
                "protocol": "TCP",
                "address": "::1",
                "port_value": 80,
                "resolver_name": "",
                "ipv4_compat": False,
                "network_namespace_filepath": "",
            },
            address_event(Address("::1", 80))["socket_address"],
        )
