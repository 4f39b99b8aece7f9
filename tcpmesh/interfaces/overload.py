"""What the overload manager looks at."""

from __future__ import annotations

from zope.interface import Interface

from twisted.internet.defer import Deferred


class IResourceMonitor(Interface):
    """A resource that may run short: built, as an extension of main's, with its message and a
    `MainContext`.
    """

    def pressure() -> float | Deferred[float]:
        """How much of it is used: 0 for nothing, 1 for all.  Asked at each refresh; one that takes
        longer than that is not asked meanwhile.

        :raise Exception: where that cannot be found out, and the text says why.
        """

    def close() -> None:
        """It is not asked any more."""
