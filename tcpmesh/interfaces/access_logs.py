"""What records connections, what decides whether, and the files they are recorded in."""

from __future__ import annotations

from zope.interface import Attribute, Interface

from twisted.internet.defer import Deferred

from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo


class IAccessLogger(Interface):
    """What the `typed_config` of an access log builds: one for each place that names it, shared by
    the connections there.

    What it is not to record it is not told: filters stand before it.
    """

    def log(info: StreamInfo, at: Moment) -> None:
        """Record a connection, as it is at this moment.

        It never raises and never waits: what cannot be written is counted, and what is kept until
        it can be is bounded.
        """

    def close() -> None:
        """No more will be recorded here; what was is written as far as it can be."""


class IAccessLogFilter(Interface):
    """What the `typed_config` of an `extension_filter` of an access log builds: one for each log
    that names it.
    """

    def passes(info: StreamInfo, at: Moment) -> bool:
        """Whether a connection is written down at this moment."""

    def close() -> None:
        """The log is closed."""


class ISaysWhatItWants(Interface):
    """An access logger, or a filter of one, that says what it may ask of a connection that has
    ended.  Where one does not, all is kept for it, at a system call each.
    """

    wants = Attribute("A `tcpmesh.values.stream.wanted.Wanted`.")


class IMayWriteNothing(IAccessLogger):
    """One that may turn out to write nowhere: it is then not called."""

    writes_nothing = Attribute("Whether it does.")


class IAccessLogFile(Interface):
    """A file that lines are added to, one for all that name its path."""

    def write(text: str) -> None:
        """Add a record, whole: with its line end, where it is to have one.

        Characters that stand for bytes that are no UTF-8 (`surrogateescape`) are those bytes again.
        Never raises and never waits.
        """

    def close() -> None:
        """Its user writes no more; the last one's close writes what is buffered, and closes it."""


class IAccessLogManager(Interface):
    """The files of all access logs of a process: buffered, and written beside the event loop."""

    def open(path: str) -> IAccessLogFile:
        """The file of this path, opened and created where need be.

        :raise OSError: where it cannot be opened.
        """

    def reopen() -> None:
        """Open all files anew: where one was moved away, a new one is begun."""

    def stop() -> Deferred[None]:
        """Write all that is buffered and close all files; fires when that is done."""
