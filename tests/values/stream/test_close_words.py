"""Why a connection ended, in words."""

from __future__ import annotations

from errno import ECONNREFUSED, EHOSTUNREACH, ETIMEDOUT
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.values.address import Address
from tcpmesh.values.hosts import HostSpec
from tcpmesh.values.stream.close_reason import CLIENT_DONE, HOST_DONE, Cause, CloseReason, EndedBy
from tcpmesh.values.stream.close_words import REASONS, close_reason_text
from tcpmesh.values.stream.phase import Phase
from tcpmesh.values.stream.stream_info import ClusterInfo, StreamInfo, UpstreamInfo

HOST = HostSpec(Address("10.0.0.3", 5432))


def relayed(**facts: Any) -> StreamInfo:
    """A connection that has an upstream."""
    info = StreamInfo(started=1.0)
    info.upstream = UpstreamInfo(ClusterInfo("db", "db"))
    info.upstream.attempted = (HOST,)
    info.upstream.connect_ended = 2.0
    for name, value in facts.items():
        setattr(info, name, value)
    return info


def failed(made: int, allowed: int) -> StreamInfo:
    """One that got none."""
    info = relayed()
    upstream = info.upstream
    upstream.connect_ended = None
    upstream.failed_host = HOST
    upstream.attempted, upstream.attempts_allowed = (HOST,) * made, allowed
    return info


class WordsTests(SynchronousTestCase):
    """The words for each end."""

    def said(
        self, info: StreamInfo, cause: Cause, by: EndedBy = EndedBy.PROXY, **more: Any
    ) -> str | None:
        """What is said of a connection that ended so."""
        info.close_reason = CloseReason(by, more.pop("phase", Phase.CONNECTING), cause, **more)
        return close_reason_text(info)

    def test_open(self) -> None:
        """Of a connection that has not ended nothing is said."""
        self.assertIsNone(close_reason_text(StreamInfo()))

    def test_closed(self) -> None:
        """The side that closed first, and how long nothing had moved."""
        self.assertEqual("client closed", close_reason_text(relayed(close_reason=CLIENT_DONE)))
        self.assertEqual(
            "upstream 10.0.0.3:5432 closed after 60.0 s idle",
            close_reason_text(relayed(close_reason=HOST_DONE, idle_for=60.0)),
        )

    def test_reset(self) -> None:
        """The side that reset it, after how long, and when that was no ordinary moment."""
        info = relayed(idle_for=12.41)
        self.assertEqual(
            "upstream 10.0.0.3:5432 reset after 12.4 s idle",
            self.said(info, Cause.RESET, EndedBy.UPSTREAM, phase=Phase.RELAYING),
        )
        self.assertEqual(
            "client reset after one side had sent all",
            self.said(relayed(), Cause.RESET, EndedBy.DOWNSTREAM, phase=Phase.HALF_CLOSED),
        )
        self.assertEqual(
            "client reset while connecting to 10.0.0.3:5432",
            self.said(failed(1, 1), Cause.RESET, EndedBy.DOWNSTREAM),
        )

    def test_connect_failed(self) -> None:
        """The host, the error, and which attempt it was, where there may be several."""
        for errno, made, allowed, text in (
            (ECONNREFUSED, 2, 2, "refused (errno 111), 2nd of 2 attempts"),
            (ECONNREFUSED, 1, 1, "refused (errno 111)"),
            (ETIMEDOUT, 1, 3, "timed out (errno 110), 1st of 3 attempts"),
            (EHOSTUNREACH, 3, 3, "failed: No route to host (errno 113), 3rd of 3 attempts"),
            (None, 11, 12, "failed: TLS_error, 11th of 12 attempts"),
            (None, 21, 21, "failed: TLS_error, 21st of 21 attempts"),
        ):
            said = self.said(
                failed(made, allowed), Cause.CONNECT_FAILED, errno=errno, detail="TLS_error"
            )
            self.assertEqual(f"connect to 10.0.0.3:5432 {text}", said)

    def test_one_line(self) -> None:
        """Whatever a peer or a filter has to say, it is one line."""
        said = self.said(relayed(), Cause.FILTER, detail="no\r\n\tway")
        self.assertEqual("closed by a filter: no way", said)

    @given(
        st.sampled_from(Cause),
        st.sampled_from(EndedBy),
        st.sampled_from(Phase),
        st.none() | st.integers(-1, 200),
        st.text(max_size=5),
        st.sampled_from((relayed, StreamInfo, lambda: failed(2, 2))),
    )
    def test_all(
        self,
        cause: Cause,
        by: EndedBy,
        phase: Phase,
        errno: int | None,
        detail: str,
        make: Any,
    ) -> None:
        """Every end has words, whatever is known of it."""
        said = self.said(make(), cause, by, phase=phase, errno=errno, detail=detail)
        self.assertTrue(said)
        self.assertEqual(1, len((said or "").splitlines()))

    def test_every_cause(self) -> None:
        """There is no cause without words."""
        self.assertEqual(set(Cause), set(REASONS))
