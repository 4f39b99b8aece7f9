"""What becomes the status of a call."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.rpc.endings import of_field
from tcpmesh.rpc.status import GrpcStatus


class FieldTests(SynchronousTestCase):
    """What a `grpc-status` says."""

    def test_ok(self) -> None:
        """0 is OK, whatever is said beside it."""
        for value in ("0", "00"):
            self.assertIsNone(of_field(value, "why"))

    def test_codes(self) -> None:
        """Each code has its status, with the server's words."""
        for status in list(GrpcStatus)[1:]:
            found = of_field(f"{status:d}", "why")
            assert found is not None
            self.assertEqual((status, "why"), (found.status, found.message))

    def test_no_codes(self) -> None:
        """What is no code is UNKNOWN, in the server's words or else with what it was."""
        for value, text in (
            *(("17", "grpc-status 17"), ("9" * 5000, f"grpc-status {'9' * 5000}")),
            *(("x", "grpc-status 'x'"), ("-1", "grpc-status '-1'"), ("\xb2", "grpc-status '²'")),
        ):
            for message in ("why", ""):
                found = of_field(value, message)
                assert found is not None
                self.assertEqual(GrpcStatus.UNKNOWN, found.status)
                self.assertEqual(message or text, found.message)
