"""The worker that the fork server builds and throws away."""

from __future__ import annotations

import threading

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.server.processes import warm_up
from tests.server.processes.watched import open_descriptors


class WarmUpTests(SynchronousTestCase):
    """`warm_up`."""

    def test_nothing_is_left(self) -> None:
        """It leaves no thread and no descriptor, for those would be every worker's."""
        self.patch(warm_up, "TIMES", 1)
        before = open_descriptors(), threading.active_count()
        warm_up.warm_up()
        self.assertEqual(open_descriptors() - before[0], set())
        self.assertEqual(threading.active_count(), before[1])
