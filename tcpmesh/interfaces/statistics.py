"""What statistics are sent to, at intervals."""

from __future__ import annotations

from typing import Any

from zope.interface import Attribute, Interface


class IStatsSnapshot(Interface):
    """What a flush of the statistics has found: all that was ever written to.

    Each of the four iterators has a `None` here and there: a rest, at which the sink is to `yield`.
    """

    wall = Attribute("Seconds since 1970 at which the flush began.")

    def tags(name: str) -> Any:
        """A name without its tags, and the (tag, value) pairs found in it; costs some
        microseconds.
        """

    def counters() -> Any:
        """Each with the attributes `name`, `total` and `delta`, what it has grown by since the last
        flush, which may be 0.
        """

    def gauges() -> Any:
        """Each with the attributes `name` and `value`."""

    def text_readouts() -> Any:
        """Each with the attributes `name` and `value`."""

    def histograms() -> Any:
        """Each with the attributes `name`, `unit`, `bounds` (of buckets), `interval`, what it was
        given since the last flush, perhaps nothing, and `total`; both are a
        `tcpmesh.stats.distribution.Distribution`.
        """


class IStatsSink(Interface):
    """What the `typed_config` of a stats sink builds: one for each place that names it; belongs to
    main.
    """

    wants_values = Attribute(
        "Whether histograms are to keep their values as they are until the flush "
        "(`interval.values`), and not only in bins: a `bool` of the class."
    )

    def flush(snapshot: IStatsSnapshot) -> Any:
        """Send what a flush has found: an iterator, each of whose steps takes a millisecond or two,
        for which a generator that yields at each rest will do.

        It never waits: what cannot be sent is counted, and what is kept until it can be is bounded.
        The next flush does not begin before the last step of this one.
        """

    def close() -> None:
        """The proxy ends, after a last flush."""
