"""Questions to a gRPC service about connections."""

from __future__ import annotations

from typing import Any

from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import StringValue

from tcpmesh.rpc.questions import Questions, metadata_of
from tcpmesh.stats.metrics import Merge
from tests.rpc.called import METHOD, RpcTestCase, text


class QuestionTests(RpcTestCase):
    """What is asked, and who hears of the answer."""

    def setUp(self) -> None:
        """Questions with two seconds for each; the service answers when a test says so."""
        super().setUp()
        self.server.reply = lambda call: None
        self.told: list[tuple[Any, Any]] = []
        self.ends = 0
        self.active = self.mesh.store.scope("q").gauge("active", Merge.SUM)
        self.questions = Questions(self.client, METHOD, StringValue, 2.0, self.active, self._end)

    def _end(self) -> None:
        self.ends += 1

    def ask(self, about: str) -> None:
        """Ask about this."""
        self.questions.ask(
            about, text("q"), lambda about, answer: self.told.append((about, answer))
        )
        self.assertEqual([], self.told)
        self.pump()

    def answer(self) -> None:
        """The service answers the last question."""
        self.server.calls[-1].answer("a")
        self.pump()

    def test_answer(self) -> None:
        """An answer is told with what it is about, once; until then the question counts."""
        self.ask("x")
        self.assertEqual((True, 1), ("x" in self.questions, self.active.tally))
        self.answer()
        self.assertEqual([("x", text("a"))], self.told)
        self.assertEqual((False, 0), ("x" in self.questions, self.active.tally))

    def test_no_answer(self) -> None:
        """Without one in time there is none."""
        self.ask("x")
        self.mesh.advance(2.1)
        self.assertEqual(([("x", None)], 0), (self.told, self.active.tally))

    def test_drop(self) -> None:
        """A question that does not matter any more is broken off; to drop what was not asked does
        nothing.
        """
        self.ask("x")
        self.questions.drop("x")
        self.questions.drop("y")
        self.pump()
        self.assertEqual((8, 0), (self.server.calls[0].reset, self.active.tally))
        self.mesh.advance(3)
        self.assertEqual([], self.told)

    def test_close(self) -> None:
        """The end comes when the last question has its answer, or is dropped."""
        self.ask("x")
        self.ask("y")
        self.questions.close()
        self.questions.drop("x")
        self.assertEqual(0, self.ends)
        self.answer()
        self.assertEqual((1, [("y", text("a"))]), (self.ends, self.told))

    def test_who_is_told_fails(self) -> None:
        """Where who is told raises, that is logged, and the end comes all the same."""

        def tell(about: Any, answer: Any) -> None:
            raise ZeroDivisionError

        self.questions.ask("x", text("q"), tell)
        self.pump()
        self.questions.close()
        self.answer()
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.assertEqual((1, 0), (self.ends, self.active.tally))


class MetadataTests(RpcTestCase):
    """What a service says of a connection."""

    def test_values(self) -> None:
        """All kinds of values are kept; a whole number is one, and one that JSON does not have
        stays what it is.
        """
        values: Any = {
            "t": "x",
            "b": True,
            "n": None,
            "i": 3,
            "f": 1.5,
            "l": [1, {"a": []}],
            "s": {},
        }
        struct = Struct()
        struct.update(values)
        struct.fields["inf"].number_value = float("inf")
        self.assertEqual({**values, "inf": float("inf")}, metadata_of(struct))
        self.assertIsInstance(metadata_of(struct)["i"], int)
