"""Messages of tcpmesh's own."""

from __future__ import annotations

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.messages.types import new_message
from tcpmesh.config.schema import own
from tcpmesh.config.support import EXTENSIONS
from tests.config.schema.own import compiled


class OwnTests(SynchronousTestCase):
    """Those of the `.proto` files."""

    def test_compiled(self) -> None:
        """The descriptors that are shipped are those of the files (`make own-schema`)."""
        shipped = FileDescriptorSet.FromString(own.DATA.read_bytes())
        self.assertEqual(compiled(), shipped)

    def test_names(self) -> None:
        """Each is found by its full name, which begins with tcpmesh, and is an extension."""
        self.assertNotEqual([], own.types())
        for name in own.types():
            self.assertTrue(name.startswith(own.ROOT))
            self.assertEqual(name, new_message(name).DESCRIPTOR.full_name)
            self.assertIn(name, EXTENSIONS)
