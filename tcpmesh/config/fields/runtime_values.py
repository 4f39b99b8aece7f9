"""The values of a static runtime layer: what is in a mapping has the keys of both, with a dot
between them, but a mapping that may be a share is one value.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

Names = tuple[str, ...]
"""Of the mappings around a value, and its own: the runtime key is all of them, joined by dots."""


def runtime_values(struct: Any) -> Iterator[tuple[Names, Any]]:
    """The values in a `google.protobuf.Struct`, those on the outside first: of two that have the
    same key the first one counts.
    """
    waiting: deque[tuple[Names, Any]] = deque([((), struct.fields)])
    while waiting:
        around, fields = waiting.popleft()
        for name, value in sorted(fields.items()):
            inner = value.struct_value.fields if value.HasField("struct_value") else {}
            if inner and not is_share(inner):
                waiting.append(((*around, name), inner))
            else:
                yield (*around, name), value


def is_share(fields: Any) -> bool:
    """Whether the fields of a mapping are taken for those of a `type.v3.FractionalPercent`."""
    return "numerator" in fields or "denominator" in fields
