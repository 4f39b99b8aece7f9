"""What a row of the table of supported fields says, and the reasons that several rows give."""

from __future__ import annotations

from collections.abc import Mapping

from tcpmesh.facts import dataclass


@dataclass(frozen=True)
class Support:
    """A row: how a field is treated; `values` are the only ones supported, where there are any."""

    level: str
    reason: str = ""
    values: tuple[str | int | bool, ...] = ()
    is_whole: bool = False


#: The field works as in Envoy.
YES = Support("supported")

#: The field works as in Envoy, whatever its message has, which elsewhere may not be supported.
WHOLE = Support("supported", is_whole=True)


def only(*values: str | int | bool) -> Support:
    """These values work as in Envoy; the names of enum values, or plain values (also of a wrapper
    such as BoolValue).
    """
    return Support("supported", values=values)


def default_only(reason: str) -> Support:
    """The field may be set to what it is when it is not set, and nothing reads it."""
    return Support("default only", reason)


def no_effect(reason: str) -> Support:
    """The field is accepted and nothing reads it."""
    return Support("no effect", reason)


def refused(reason: str) -> Support:
    """The field is an error, and this is why."""
    return Support("not supported", reason)


Rows = Mapping[str, Support]

#: Reasons that rows of several files give.
HTTP = no_effect("for HTTP; Envoy does not use it for TCP")
HTTP_COUNTED = no_effect(
    "for HTTP; of TCP, Envoy counts upstream_cx_max_requests and "
    "upstream_cx_max_duration_reached by it"
)
HTTP_ONLY = no_effect("counts HTTP requests; Envoy does not use it for TCP")
