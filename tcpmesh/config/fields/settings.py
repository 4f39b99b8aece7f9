"""Settings of an extension that has no message of its own: the fields of a TypedStruct, read into a
dataclass, and all that is wrong with them.

::

    @dataclass(frozen=True)
    class Settings:
        word: str
        times: int = 1

    settings = settings_of(struct, Settings)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar, get_type_hints

from google.protobuf.struct_pb2 import Struct

from tcpmesh.config.messages.scalars import did_you_mean

Settings = TypeVar("Settings")

_WORDS = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}


class WrongFields(Exception):
    """An extension cannot serve what it is configured with.

    :param problems: what is wrong, by the path of the field, such as `limits[0].bytes`; an empty
        path for the message itself.
    """

    def __init__(self, problems: Mapping[str, str]) -> None:
        texts = (f"{path}: {text}" if path else text for path, text in problems.items())
        super().__init__("; ".join(texts))
        self.problems = dict(problems)


def settings_of(struct: Struct, kind: type[Settings]) -> Settings:
    """What the fields of a Struct say.

    :param kind: a dataclass whose fields are `str`, `bool`, `int` or `float`; those without a
        default have to be given.
    :raise WrongFields: where a field is missing, not known, or of another kind.
    :raise TypeError: where the dataclass has a field of another type.
    """
    hints, known = get_type_hints(kind), {each.name: each for each in fields(kind)}  # type: ignore[arg-type]
    problems: dict[str, str] = {}
    values: dict[str, Any] = {}
    for name, value in struct.fields.items():
        if name not in known:
            near = did_you_mean(name, list(known))
            problems[name] = f"unknown field {name!r}" + (f" ({near})" if near else "")
            continue
        read = _read(value, hints[name])
        if read is None:
            problems[name] = f"{name} must be {_WORDS[hints[name]]}"
        values[name] = read
    for name, each in known.items():
        if name not in values and each.default is MISSING and each.default_factory is MISSING:
            problems[""] = "; ".join(filter(None, (problems.get("", ""), f"{name} is missing")))
    if problems:
        raise WrongFields(problems)
    return kind(**values)


def _read(value: Any, kind: type) -> Any:
    """A `google.protobuf.Value` as one of this kind; `None` where it is of another."""
    if kind not in _WORDS:
        raise TypeError(f"settings are text, numbers, true or false, not {kind}")
    which = value.WhichOneof("kind")
    if kind is str:
        return value.string_value if which == "string_value" else None
    if kind is bool:
        return value.bool_value if which == "bool_value" else None
    if which == "number_value":
        number = value.number_value
    elif which == "string_value":  # YAML's decimals are text, as in Envoy
        try:
            number = float(value.string_value)
        except ValueError:
            return None
    else:
        return None
    if kind is float:
        return number
    return int(number) if number.is_integer() else None
