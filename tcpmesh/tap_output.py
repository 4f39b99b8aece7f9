"""What a command line prints before anything serves: an answer, a refusal, problems."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping
from typing import NoReturn

from tcpmesh.config.text.problems import Problem, render


def tell(text: str) -> bool:
    """Write the answer to standard output; false where whoever reads it has seen enough, as `head`
    has.

    Ends the process with status 1 where it cannot be written for another reason.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _forget_output()
        return False
    except OSError as e:
        _forget_output()
        refuse(f"cannot write to standard output: {e.strerror}")
    return True


def refuse(text: str) -> NoReturn:
    """End the process with status 1 and this line."""
    print(text, file=sys.stderr)
    sys.exit(1)


def complain(problems: tuple[Problem, ...], sources: Mapping[str, str]) -> None:
    """Write problems to standard error; a terminal gets the source lines too."""
    if problems:
        print(render(problems, sources if sys.stderr.isatty() else {}), file=sys.stderr)


def _forget_output() -> None:
    """Leave nothing in the buffer of standard output that Python would try to write once more when
    it ends.
    """
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
