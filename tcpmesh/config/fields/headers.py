"""`core.v3.HeaderValueOption`: header fields that a configuration adds to requests of the proxy's
own, such as health checks, exports and tunnels.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from envoy.config.core.v3.base_pb2 import HeaderValueOption

Fields = list[tuple[str, str]]
"""Names, in lower case, and values."""

_APPEND = HeaderValueOption.APPEND_IF_EXISTS_OR_ADD
_OVERWRITE = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
_REPLACES = (HeaderValueOption.OVERWRITE_IF_EXISTS, _OVERWRITE)

_ENDS = str.maketrans("\r\n\0", "   ")
"""An environment variable or the metadata of a host may hold what would end a field."""


def with_headers(fields: Fields, options: Iterable[tuple[Any, str]]) -> Fields:
    """The fields as `HeaderValueOption` messages want them; themselves unchanged.

    What is to be done about a field of a name goes by those that were there before, as in Envoy;
    those that take the place of others come before those that are added.

    :param options: each with what its format has come to.
    """
    there = {name for name, _ in fields}
    found, added = list(fields), []
    for option, value in options:
        name, action = option.header.key.lower(), action_of(option)
        if not value and not option.keep_empty_value:
            continue
        if action == HeaderValueOption.ADD_IF_ABSENT and name in there:
            continue
        if action == HeaderValueOption.OVERWRITE_IF_EXISTS and name not in there:
            continue
        field = (name, value.translate(_ENDS))
        if action in _REPLACES:
            found = [*(each for each in found if each[0] != name), field]
        else:
            added.append(field)
    for name, value in added:
        found = _appended(found, name, value)
    return found


def action_of(option: Any) -> int:
    """What an option does about fields that are there: `append`, of old times, says it too."""
    action: int = option.append_action
    if option.HasField("append"):
        action = _APPEND if option.append.value else _OVERWRITE
    return action


def _appended(fields: Fields, name: str, value: str) -> Fields:
    """With one more value; a second user-agent joins the first, as in Envoy, other fields may come
    twice.
    """
    if name == "user-agent" and any(each == name for each, _ in fields):
        return [(each, f"{old},{value}" if each == name else old) for each, old in fields]
    return [*fields, (name, value)]
