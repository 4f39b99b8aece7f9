"""What is explained of tcpmesh's own messages."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.explain.filters import FILTERS
from tcpmesh.config.messages.types import find_type
from tcpmesh.config.schema import own


class OwnTests(SynchronousTestCase):
    """The rows of each."""

    def test_ours(self) -> None:
        """Each field is explained, and its default is called ours, never Envoy's."""
        for name in own.types():
            rows = FILTERS[name]
            fields = {field.name for field in find_type(name).fields}
            self.assertEqual({"runtime_enabled"}, fields - set(rows), name)
            self.assertTrue(all(row.is_ours for row in rows.values()), name)
