"""Commands that run at the same time."""

from contextlib import redirect_stdout
from io import BytesIO, TextIOWrapper

from twisted.trial.unittest import SynchronousTestCase

from tests.together import together


class TogetherTests(SynchronousTestCase):
    """`python -m tests.together`."""

    def run_all(self, *commands: str) -> tuple[int, str]:
        """The status, and what is printed."""
        output = TextIOWrapper(BytesIO())
        with redirect_stdout(output):
            status = together(commands)
        output.seek(0)
        return status, output.read()

    def test_at_the_same_time(self) -> None:
        """Two that wait for each other both end, and each one's output is printed as a whole."""
        pipe = self.mktemp()
        status, said = self.run_all(
            f"mkfifo {pipe}; echo a; cat {pipe}; echo c",
            f"while [ ! -p {pipe} ]; do :; done; echo b > {pipe}; echo d",
        )
        self.assertEqual((0, "a\nb\nc\nd\n"), (status, said))

    def test_failures(self) -> None:
        """It fails where one of them does."""
        self.assertEqual((1, "a\nb\n"), self.run_all("echo a; exit 3", "echo b"))
        self.assertEqual((1, "a\nb\n"), self.run_all("echo a", "echo b; exit 1"))

    def test_interrupt(self) -> None:
        """What it runs can be interrupted."""
        python = "python3 -c 'import signal; print(signal.getsignal(2) is not signal.SIG_IGN)'"
        self.assertEqual((0, "True\n"), self.run_all(python))
