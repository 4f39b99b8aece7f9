"""Messages of a flush on their way."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.accesslog.collectors.outbox import MOST_MESSAGES, Outbox


class OutboxTests(SynchronousTestCase):
    """One flush after the other."""

    def setUp(self) -> None:
        self.sent: list[int] = []
        self.room = 1000
        self.dropped = 0
        self.outbox = Outbox(self._send, self._drop)

    def _send(self, message: int) -> bool:
        if len(self.sent) >= self.room:
            return False
        self.sent.append(message)
        return True

    def _drop(self, messages: int) -> None:
        self.dropped += messages

    def flush(self, *messages: int | None) -> int:
        """Flush, and tell how many rests there were."""
        return len(list(self.outbox.flush(messages)))

    def test_all_is_sent_in_order(self) -> None:
        """A `None` among the messages is a rest."""
        self.assertEqual(self.flush(1, None, 2, None, None, 3), 3)
        self.assertEqual((self.sent, self.dropped), ([1, 2, 3], 0))

    def test_what_is_not_taken_waits(self) -> None:
        """It goes on once the collector can take more."""
        self.room = 1
        self.flush(1, 2, 3)
        self.assertEqual(self.sent, [1])
        self.room = 2
        self.outbox.go_on()
        self.room = 9
        self.outbox.go_on()
        self.assertEqual((self.sent, self.dropped), ([1, 2, 3], 0))

    def test_a_collector_that_is_slower_than_flushes(self) -> None:
        """While a flush is not gone the next ones are left out, and that is counted."""
        self.room = 1
        self.flush(1, 2)
        self.flush(3)
        self.flush(4)
        self.room = 9
        self.flush(5)
        self.assertEqual((self.sent, self.dropped), ([1, 2, 5], 2))

    def test_what_waits_is_bounded(self) -> None:
        """Of a flush that is too large the rest is lost, and counted; so is what waits at the
        end.
        """
        self.room = 0
        self.flush(*range(MOST_MESSAGES + 7))
        self.assertEqual(self.dropped, 7)
        self.outbox.close()
        self.assertEqual(self.dropped, MOST_MESSAGES + 7)

    def test_sending_leads_to_more_sending(self) -> None:
        """A collector that is ready for the next message before it has taken one gets each once."""

        def send(message: int) -> bool:
            self.sent.append(message)
            outbox.go_on()
            return True

        self.room = 0
        outbox = Outbox(lambda message: self._send(message), self._drop)
        list(outbox.flush([1, 2, 3]))
        outbox._send = send
        outbox.go_on()
        self.assertEqual(self.sent, [1, 2, 3])
