"""What to write in place of deprecated fields."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.messages.types import find_type
from tcpmesh.config.rules.deprecated import INSTEAD
from tcpmesh.config.support import TABLE, Support
from tests.config.texts import changed, warned


def deprecated_of(table: Mapping[str, Mapping[str, Support]]) -> set[str]:
    """The full names of the deprecated fields that a table of message types has rows for."""
    found = set()
    for full_name, rows in table.items():
        fields = find_type(full_name).fields_by_name
        found |= {
            fields[name].full_name
            for name in rows
            if name in fields and fields[name].GetOptions().deprecated
        }
    return found


class InsteadTests(SynchronousTestCase):
    """The table of what came after."""

    def test_complete(self) -> None:
        """Each deprecated field that tcpmesh takes has a row, and no other has one."""
        self.assertEqual(deprecated_of(TABLE), set(INSTEAD))

    def test_warning(self) -> None:
        """The warning of a deprecated field says what to write in its place."""
        text = changed(("    type: STATIC", "    type: STRICT_DNS\n    respect_dns_ttl: true"))

        self.assertEqual(
            [
                "20:22: static_resources.clusters[0].respect_dns_ttl: warning: Envoy has "
                "deprecated this field (use 'cluster_type' with "
                "envoy.extensions.clusters.dns.v3.DnsCluster)"
            ],
            warned(text),
        )
