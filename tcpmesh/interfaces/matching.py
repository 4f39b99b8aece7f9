"""What matching trees and policies ask: inputs and tests of them, and who a client is."""

from __future__ import annotations

from typing import Any

from zope.interface import Interface


class IMatchInput(Interface):
    """What the `typed_config` of an input of a matching tree builds."""

    def get(info: Any) -> str | None:
        """The text that a client is matched by.

        :param info: its `tcpmesh.values.stream.stream_info.StreamInfo`.
        :return: `None` where there is none.
        """


class IInputMatcher(Interface):
    """What the `typed_config` of a `custom_match` of a predicate builds."""

    def matches(text: str | None) -> bool:
        """Whether an input has what is asked for."""


class IPrincipal(Interface):
    """What the `typed_config` of a `custom` principal of rbac builds."""

    def matches(info: Any) -> bool:
        """Whether a client is one.

        :param info: its `tcpmesh.values.stream.stream_info.StreamInfo`.
        """


class IRequestIds(Interface):
    """What a `request_id_extension` builds: where the ids of requests come from."""

    def new() -> str:
        """Another id."""
