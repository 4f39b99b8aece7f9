"""Points in time, as Envoy wrote them."""

from __future__ import annotations

import os
import time

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.accesslog.fields.time_format import TimeFormat
from tests.accesslog.known import MOMENT


class TimeTests(SynchronousTestCase):
    """Points in time, as Envoy wrote them."""

    def test_as_seen(self) -> None:
        """Each form is what Envoy 1.40 wrote of the same moment, or a like one."""
        cases = {
            "%Y/%m/%dT%H:%M:%S%z": "2026/11/24T17:31:50+0000",
            "%f": "442668000",
            "%1f": "4",
            "%3f %9f": "442 442668000",
            "%3s %4s": "1795541510 1795541510",
            "%E4S": "50.4426",
            "%E*S": "50.442668",
            "%E3f %E*f": "442 442668",
            "%Ez %E*z %Z %ET": "+00:00 +00:00:00 UTC T",
            "%e %b %a %j %p %I": "24 Nov Tue 328 PM 05",
            "%D %F %T %R": "11/24/26 2026-11-24 17:31:50 17:31",
            "%%": "%",
            "%%f": "%f",
            "%Q": "%Q",
            "%0f": "%0f",
            "plain": "plain",
        }
        for text, expected in cases.items():
            self.assertEqual(TimeFormat(text).format(MOMENT), expected, text)

    def test_local(self) -> None:
        """Local times follow the machine's time zone."""
        before = os.environ.get("TZ")
        self.addCleanup(self.move_to, before)
        self.move_to("XYZ-3:30")
        self.assertEqual(
            TimeFormat("%H:%M %z %Ez %Z", local=True).format(MOMENT), "21:01 +0330 +03:30 XYZ"
        )

    def move_to(self, zone: str | None) -> None:
        """The machine is in this time zone from now on."""
        os.environ.pop("TZ", None)
        if zone is not None:
            os.environ["TZ"] = zone
        time.tzset()
