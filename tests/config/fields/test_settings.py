"""The fields of a TypedStruct, read into a dataclass."""

from __future__ import annotations

from dataclasses import dataclass, field

from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.fields.settings import WrongFields, settings_of


@dataclass(frozen=True)
class Settings:
    """Those of an extension."""

    word: str
    times: int = 1
    rate: float = 0.5
    loud: bool = False


@dataclass(frozen=True)
class Other:
    """Some that no Struct has."""

    words: list[str] = field(default_factory=list)


class SettingsTests(SynchronousTestCase):
    """What is read, and what is wrong."""

    def problems(self, **fields: object) -> dict[str, str]:
        """What is wrong with these."""
        error = self.assertRaises(WrongFields, settings_of, ParseDict(fields, Struct()), Settings)
        return dict(error.problems)

    def test_all(self) -> None:
        """Each field is read as its type; those that are not given have their defaults."""
        struct = ParseDict({"word": "x", "times": 3, "rate": 2, "loud": True}, Struct())
        self.assertEqual(Settings("x", 3, 2.0, True), settings_of(struct, Settings))
        self.assertEqual(Settings("x"), settings_of(ParseDict({"word": "x"}, Struct()), Settings))

    def test_decimals(self) -> None:
        """Decimals of YAML, which come as text, are numbers."""
        struct = ParseDict({"word": "1.5", "times": "4", "rate": "1.5"}, Struct())
        self.assertEqual(Settings("1.5", 4, 1.5), settings_of(struct, Settings))

    def test_wrong(self) -> None:
        """All that is wrong is said together, each by its field."""
        self.assertEqual(
            {
                "": "word is missing",
                "wrd": "unknown field 'wrd' (did you mean 'word'?)",
                "times": "times must be a whole number",
                "rate": "rate must be a number",
                "loud": "loud must be true or false",
            },
            self.problems(wrd="x", times=1.5, rate="fast", loud=1),
        )
        self.assertEqual({"word": "word must be text"}, self.problems(word=None))
        self.assertEqual({"word": "word must be text"}, self.problems(word=["x"]))
        self.assertEqual(
            {"times": "times must be a whole number"}, self.problems(word="", times={"a": 1})
        )

    def test_other_types(self) -> None:
        """A dataclass with fields of other types is a mistake of its author."""
        self.assertRaises(TypeError, settings_of, ParseDict({"words": "x"}, Struct()), Other)
        self.assertEqual(Other(), settings_of(Struct(), Other))
