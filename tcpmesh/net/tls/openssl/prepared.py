"""Contexts for servers that are there before workers fork, so that each worker has all of them.

OpenSSL makes the keys of session tickets together with a context; its library for Python can
neither tell them nor be given others.  But what exists before a fork both sides have.  So the
process that workers are forked from makes blank contexts, a fork has all of them with their keys,
and each worker takes the same one for the same settings: a client that comes back resumes its
session with whichever worker it meets, also with one that has taken the place of another.

Which one that is follows from the settings alone, not from their order, for workers do not all see
the same history.  Where two settings fall on the same context, the later one takes the next that is
free; where none is left, or nothing was prepared, a context is made as any other.  The worst of all
this is a handshake from the beginning.
"""

from __future__ import annotations

from collections.abc import Sequence

from OpenSSL import SSL

NUMBER = 128
"""How many are made: together two megabytes, which all workers share, and ten milliseconds."""


class PreparedContexts:
    """Contexts that nobody has used yet."""

    def __init__(self, contexts: Sequence[SSL.Context] = ()) -> None:
        self._contexts: list[SSL.Context | None] = list(contexts)

    def prepare(self, number: int = NUMBER) -> None:
        """Make them; called once, in the process that forks."""
        self._contexts = [SSL.Context(SSL.TLS_SERVER_METHOD) for _ in range(number)]

    def take(self, fingerprint: bytes) -> SSL.Context:
        """One for these settings, of which nothing is set.

        :param fingerprint: the same where the settings are.
        """
        number = len(self._contexts)
        begin = int.from_bytes(fingerprint[:8], "big") % number if number else 0
        for place in (*range(begin, number), *range(begin)):
            found: SSL.Context | None = self._contexts[place]
            if found is not None:
                self._contexts[place] = None
                return found
        return SSL.Context(SSL.TLS_SERVER_METHOD)


PREPARED = PreparedContexts()
"""Those of this process: none where it was not forked."""
