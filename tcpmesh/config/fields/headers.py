"""`core.v3.HeaderValueOption`: a header field that a configuration adds to requests of the proxy's
own, such as health checks and exports.
"""

from __future__ import annotations

from typing import Any

from envoy.config.core.v3.base_pb2 import HeaderValueOption

Fields = list[tuple[str, str]]
"""Names, in lower case, and values."""

_REPLACES = (HeaderValueOption.OVERWRITE_IF_EXISTS, HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD)

_ENDS = str.maketrans("\r\n\0", "   ")
"""An environment variable or the metadata of a host may hold what would end a field."""


def with_header(fields: Fields, option: Any, value: str) -> Fields:
    """The fields as a `HeaderValueOption` wants them, by what is to be done about one of its name
    that is there; itself unchanged.

    :param value: what its format has come to.
    """
    name, action = option.header.key.lower(), option.append_action
    is_there = any(each == name for each, _ in fields)
    if not value and not option.keep_empty_value:
        return fields
    if action == HeaderValueOption.ADD_IF_ABSENT and is_there:
        return fields
    if action == HeaderValueOption.OVERWRITE_IF_EXISTS and not is_there:
        return fields
    if action in _REPLACES:
        fields = [each for each in fields if each[0] != name]
    return _appended(fields, name, value.translate(_ENDS))


def _appended(fields: Fields, name: str, value: str) -> Fields:
    """With one more value; a second user-agent joins the first, as in Envoy, other fields may come
    twice.
    """
    if name == "user-agent" and any(each == name for each, _ in fields):
        return [(each, f"{old},{value}" if each == name else old) for each, old in fields]
    return [*fields, (name, value)]
