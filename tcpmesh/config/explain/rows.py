"""What is known of a field: a row of the table of defaults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from tcpmesh.config.fields.to_plain import Json
from tcpmesh.facts import dataclass


class Inside:
    """The default of a field whose message is looked into as if it were there, empty."""


INSIDE = Inside()


@dataclass(frozen=True)
class Default:
    """A field: what it does, what it is when not set (or how that follows from the message around
    it), what a zero stands for.

    `unset` is for people, where no value says what happens without the field.  `is_ours` says that
    the value is that of tcpmesh, where Envoy has another one or none.
    """

    meaning: str = ""
    value: Json | Inside | Callable[[Any], Json] = None
    zero: str = ""
    unset: str = ""
    meaning_of: Callable[[Any], str] | None = None
    """What the field does, where that depends on the message around it."""
    is_ours: bool = False

    def of(self, message: Any) -> Default:
        """The same for a field of this message."""
        return self if self.meaning_of is None else replace(self, meaning=self.meaning_of(message))


Defaults: TypeAlias = Mapping[str, Default]
