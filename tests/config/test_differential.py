"""The same verdict as the real Envoy on a table of short configurations; its verdicts are recorded
by `tests.config.record`.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.load import load
from tcpmesh.config.text.problems import ConfigError
from tests.config.record import verdicts
from tests.config.texts import NOT_SUPPORTED

#: Cases that are judged otherwise here, and why.
EXCEPTIONS = {
    "raw ctl": "libyaml takes no control characters; one in a configuration is an accident",
    "tag ! 5 as str": "libyaml does not tell `! 5` from `5`",
    "bad directive": "libyaml refuses directives it does not know",
    "tabs end": "libyaml refuses a line that holds nothing but a tab",
    "nel": "libyaml ends a line at U+0085, as YAML 1.1 has it",
    "json: dup oneof": "the last of two equal keys counts in JSON as it does in YAML",
    "json: bom": "a byte order mark is no part of any text",
    "newer: kafka_broker": "Envoy's contrib build takes it",
    "newer: mysql_proxy": "Envoy's contrib build takes it",
    "newer: postgres_proxy": "Envoy's contrib build takes it",
    "internal: endless": "Envoy lets clients go in circles until a circuit breaker has had enough",
}


class DifferentialTests(SynchronousTestCase):
    """Envoy and tcpmesh side by side."""

    def accepts(self, suffix: str, text: str) -> bool:
        """Whether a text is accepted, whatever of it is not supported yet."""
        path = Path(self.mktemp() + suffix)
        path.write_bytes(text.encode())
        try:
            load(str(path))
        except ConfigError as error:
            return all(NOT_SUPPORTED in problem.text for problem in error.problems)
        return True

    def test_same_verdict(self) -> None:
        """Each case but the known exceptions is judged as Envoy judges it."""
        cases = verdicts()
        different = {
            case["name"]
            for case in cases
            if self.accepts(case["suffix"], case["text"]) != case["accepted"]
        }

        self.assertLessEqual(200, len(cases))
        self.assertEqual(set(), different - set(EXCEPTIONS))

    def test_exceptions_are_cases(self) -> None:
        """Every exception is one of the cases."""
        self.assertLessEqual(set(EXCEPTIONS), {case["name"] for case in verdicts()})
