"""Where tests of transports play."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from tcpmesh.testing.harness import MOST, MemoryHarness, pattern


class FillBuffersTests(TestCase):
    """What tests can rely on once buffers are full."""

    async def test_waits_until_stuck(self) -> None:
        """Buffers are full only where what passes the bytes on says so at the end; until then it
        gets more.
        """
        harness = MemoryHarness()
        client, server = await harness.pair()
        enough = await harness.fill_buffers(client, server)
        answers = [True, False, False]
        client, server = await harness.pair()
        written = await harness.fill_buffers(client, server, answers.pop)
        self.assertEqual([], answers)
        self.assertGreater(written, enough)
        server.transport.resumeProducing()
        await harness.until(lambda: len(server.received) == written, "all that was written")
        self.assertTrue(server.received == pattern(0, written))
        await harness.close()

    async def test_never_stuck(self) -> None:
        """Where that never says so, the wait for it ends."""
        harness = MemoryHarness()
        client, server = await harness.pair()
        try:
            await harness.fill_buffers(client, server, lambda: False)
        except AssertionError as e:
            self.assertIn("all is taken", str(e))
        else:
            self.fail("it is said to be stuck")
        self.assertGreaterEqual(client.transport.buffered, MOST // 2)
        await harness.close()
