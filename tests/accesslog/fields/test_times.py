"""Operators for points in time and for how long something took."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.fields.operators import FormatError
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo, UpstreamInfo
from tests.accesslog.known import CLUSTER, MOMENT, connected, known, said


def between(first: str, last: str, precision: str, info: StreamInfo) -> str:
    """What COMMON_DURATION says."""
    return said(f"%COMMON_DURATION({first}:{last}:{precision})%", info)


class DurationTests(SynchronousTestCase):
    """How long something took."""

    def test_duration(self) -> None:
        """DURATION goes on until the connection has ended."""
        self.assertEqual(said("%DURATION%", known()), "1500")
        self.assertEqual(said("%DURATION%", connected()), "1250")

    def test_common_duration(self) -> None:
        """COMMON_DURATION is between two points, in one of three units, milliseconds where none is
        given.
        """
        info = connected()
        self.assertEqual(between("DS_CX_BEG", "DS_CX_END", "ms", info), "1250")
        self.assertEqual(between("DS_RX_BEG", "US_CX_BEG", "us", info), "250000")
        self.assertEqual(between("US_CX_BEG", "US_CX_END", "ns", info), "250000000")
        self.assertEqual(said("%COMMON_DURATION(DS_CX_BEG:US_CX_END)%", info), "500")
        self.assertEqual(between("DS_RX_BEG", "DS_CX_BEG", "ns", info), "0")

    def test_absent_points(self) -> None:
        """There is nothing between points of which one has not happened, is not known, or comes
        before the other.
        """
        info = connected()
        for first, last in (
            ("US_CX_END", "US_CX_BEG"),
            ("DS_CX_BEG", "US_HS_END"),
            ("DS_HS_BEG", "DS_CX_END"),
            ("DS_CX_BEG", "custom"),
        ):
            self.assertEqual(between(first, last, "ms", info), "-", (first, last))
        self.assertEqual(between("DS_CX_BEG", "DS_CX_END", "ms", known()), "-")

    def test_no_connection(self) -> None:
        """An upstream that could not be connected to has no points, as in Envoy."""
        info = known()
        info.upstream = UpstreamInfo(CLUSTER)
        info.upstream.connect_began = 1000.25
        self.assertEqual(between("DS_CX_BEG", "US_CX_BEG", "ms", info), "-")

    def test_pool_ready(self) -> None:
        """UPSTREAM_CONNECTION_POOL_READY_DURATION counts from the first attempt to the connection,
        or until there was none to be had.
        """
        text = "%UPSTREAM_CONNECTION_POOL_READY_DURATION%"
        info = connected()
        self.assertEqual(said(text, info), "250")
        info.upstream.first_asked = 1000.125
        self.assertEqual(said(text, info), "375")
        info.upstream.connect_ended, info.upstream.gave_up = None, 1001.125
        self.assertEqual(said(text, info), "1000")
        info.upstream = UpstreamInfo(CLUSTER)
        self.assertEqual(said(text, info), "-")
        info.upstream.gave_up = 1000.5
        self.assertEqual(said(text, info), "0")
        self.assertEqual(said(text, known()), "-")


class MomentTests(SynchronousTestCase):
    """When something was."""

    def test_clock_set_back(self) -> None:
        """A wall clock that was set while a connection lived changes when that began, and breaks
        nothing.
        """
        info = known()
        text = "%START_TIME(%s)% %EMIT_TIME(%s)%"
        self.assertEqual(said(text, info, Moment(1010.0, 50.0)), "40 50")
        self.assertEqual(said(text, info, Moment(1010.0, 5.0)), "-5 5")

    def test_impossible_moments(self) -> None:
        """What the system knows no date for is absent."""
        for wall in (float("inf"), float("nan"), 1e300, -1e300):
            self.assertEqual(said("%EMIT_TIME%", known(), Moment(1001.5, wall)), "-")
        self.assertEqual(len(self.flushLoggedErrors()), 4)

    def test_refused_format(self) -> None:
        """A format that the system refuses cannot be built."""
        self.assertRaises(FormatError, said, "%START_TIME(\0)%")

    def test_seconds_are_kept(self) -> None:
        """Each line has its own moment, in the same second as the line before or in another."""
        info = known()
        found = [
            said("%EMIT_TIME(%s.%3f)%", info, Moment(1001.5, MOMENT + step))
            for step in (0, 0.1, 0.6, -1, 0)
        ]
        expected = ["0.442", "0.542", "1.042", "09.442", "0.442"]
        self.assertEqual([text[-5:] for text in found], [each[-5:] for each in expected])
