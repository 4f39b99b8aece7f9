"""Messages inside each other."""

from __future__ import annotations

from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.messages.nesting import too_deep
from tests.config.texts import GOOD, said


class NestingTests(SynchronousTestCase):
    """What is nested too deep for protobuf."""

    def test_place(self) -> None:
        """It is found, in whatever field it is."""
        message = Bootstrap()
        message.static_resources.listeners.add()
        inner = message.static_resources.listeners.add().metadata.filter_metadata["a"]
        self.assertIsNone(too_deep(message))
        for _ in range(40):
            inner = inner.fields["in"].struct_value
        path = too_deep(message)
        assert path is not None
        self.assertEqual(
            ("static_resources", "listeners", 1, "metadata", "filter_metadata", "a"), path[:6]
        )

    def test_refused(self) -> None:
        """A configuration with such a thing is refused, with its line."""
        for depth, problems in ((29, 0), (60, 1)):
            value = "{in: " * depth + "1" + "}" * depth
            text = GOOD + f"node: {{metadata: {value}}}\n"
            found = said(text)
            self.assertEqual(problems, len(found), found)
        self.assertIn("node.metadata", found[0])
        self.assertIn("nested deeper than", found[0])
