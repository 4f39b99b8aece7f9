"""How records wait for a collector."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.accesslog.collectors.buffered import SIZE, RecordBuffer


class Sender:
    """Takes records, or does not."""

    def __init__(self) -> None:
        self.takes = True
        self.sent: list[list[str]] = []
        self.asked = 0

    def __call__(self, records: list[str]) -> bool:
        self.asked += 1
        if self.takes:
            self.sent.append(list(records))
        return self.takes


class RecordBufferTests(SynchronousTestCase):
    """Size, time, and a sender that is slow."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.sender = Sender()
        self.buffer: RecordBuffer[str] = RecordBuffer(self.clock, self.sender, 1.0, 10)

    def test_records_are_sent_together_once_the_interval_is_over(self) -> None:
        """The first record waits for the interval, and those after it go with it."""
        self.buffer.add("a", 3)
        self.clock.advance(0.6)
        self.buffer.add("b", 3)
        self.assertEqual(self.sender.sent, [])
        self.clock.advance(0.4)
        self.assertEqual(self.sender.sent, [["a", "b"]])

    def test_with_enough_bytes_records_are_sent_at_once(self) -> None:
        """The size ends the wait, and no timer is left behind."""
        self.buffer.add("a", 3)
        self.buffer.add("b", 7)
        self.assertEqual(self.sender.sent, [["a", "b"]])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_with_size_0_each_record_goes_for_itself(self) -> None:
        """A size of 0 means that nothing is kept together."""
        buffer: RecordBuffer[str] = RecordBuffer(self.clock, self.sender, 1.0, 0)
        buffer.add("a", 1)
        buffer.add("b", 1)
        self.assertEqual(self.sender.sent, [["a"], ["b"]])

    def test_what_is_not_taken_waits(self) -> None:
        """A sender that takes nothing is asked again after each interval."""
        self.sender.takes = False
        self.buffer.add("a", 1)
        self.clock.pump([1.0, 1.0])
        self.assertEqual((self.sender.asked, self.sender.sent), (2, []))
        self.sender.takes = True
        self.clock.advance(1.0)
        self.assertEqual(self.sender.sent, [["a"]])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_full_buffer_takes_no_more(self) -> None:
        """With the size reached and a sender that takes nothing, further records are lost."""
        self.sender.takes = False
        self.assertTrue(self.buffer.add("a", 9))
        self.assertTrue(self.buffer.add("b", 9))
        self.assertFalse(self.buffer.add("c", 9))
        self.sender.takes = True
        self.assertTrue(self.buffer.add("d", 1))
        self.assertEqual(self.sender.sent, [["a", "b"]])

    def test_exactly_full(self) -> None:
        """A buffer is full with exactly its size."""
        self.sender.takes = False
        self.assertTrue(self.buffer.add("a", 10))
        self.assertFalse(self.buffer.add("b", 1))

    def test_size_0_is_bounded_too(self) -> None:
        """Where each record is to go at once, a sender that takes nothing still costs no more
        memory than by default.
        """
        self.sender.takes = False
        buffer: RecordBuffer[str] = RecordBuffer(self.clock, self.sender, 1.0, 0)
        taken = [buffer.add("x", 1000) for _ in range(100)]
        self.assertEqual(sum(taken), SIZE // 1000 + 1)

    def test_close_sends(self) -> None:
        """What the sender takes at the end is sent."""
        self.buffer.add("a", 1)
        self.assertEqual(self.buffer.close(), [])
        self.assertEqual(self.sender.sent, [["a"]])

    def test_close_tells_what_is_lost(self) -> None:
        """What the sender does not take at the end is given back, no timer is left behind, and
        there is no room any more.
        """
        self.sender.takes = False
        self.buffer.add("b", 1)
        self.assertEqual(self.buffer.close(), ["b"])
        self.assertFalse(self.buffer.add("c", 1))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    @settings(deadline=None)
    @given(
        st.lists(
            st.one_of(
                st.tuples(st.just("add"), st.integers(0, 30)),
                st.tuples(st.just("takes"), st.booleans()),
                st.tuples(st.just("advance"), st.floats(0, 3)),
            ),
            max_size=60,
        ),
        st.integers(0, 40),
    )
    def test_whatever_happens_each_record_is_sent_once_or_refused(
        self, events: list[tuple[str, float]], size: int
    ) -> None:
        """Records come out in their order, none twice and none missing, and what waits is never
        more than the size and one record.
        """
        clock, sender = Clock(), Sender()
        buffer: RecordBuffer[str] = RecordBuffer(clock, sender, 1.0, size)
        taken = []
        for number, (kind, value) in enumerate(events):
            if kind == "add" and buffer.add(str(number), int(value)):
                taken.append(str(number))
            elif kind == "takes":
                sender.takes = bool(value)
            elif kind == "advance":
                clock.advance(value)
        lost = buffer.close()
        sent = [record for batch in sender.sent for record in batch]
        self.assertEqual(sent + lost, taken)
        self.assertEqual(clock.getDelayedCalls(), [])
