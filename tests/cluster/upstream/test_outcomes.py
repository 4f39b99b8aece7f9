"""What a worker tells of the connections to a host."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.upstream.outcomes import Outcomes
from tcpmesh.values.link import ConnectOutcome, Outcome


class OutcomesTests(SynchronousTestCase):
    """One host."""

    def setUp(self) -> None:
        """Nothing happened yet."""
        self.told: list[ConnectOutcome] = []
        self.outcomes = Outcomes(3, 5, self.told.append)

    def test_told(self) -> None:
        """Each failure is told, and the first success after one; other successes are not."""
        for made in (True, True, False, False, True, True, False):
            self.outcomes.connect_succeeded() if made else self.outcomes.connect_failed()
        failed, recovered = (ConnectOutcome(3, 5, each) for each in Outcome)
        self.assertEqual([failed, failed, recovered, failed], self.told)

    def test_counted(self) -> None:
        """All are counted, until they are taken."""
        for made in (True, False, True):
            self.outcomes.connect_succeeded() if made else self.outcomes.connect_failed()
        self.assertEqual([(3, 2), (0, 0)], [self.outcomes.take(), self.outcomes.take()])
