"""Contexts that are there before workers fork."""

from OpenSSL import SSL

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.net.tls.openssl.prepared import NUMBER, PreparedContexts


def fingerprint(number: int) -> bytes:
    """One that falls on this place."""
    return number.to_bytes(8, "big") + bytes(24)


class PreparedTests(SynchronousTestCase):
    """Two workers with the same contexts."""

    def setUp(self) -> None:
        """They are forked from one process."""
        self.contexts = [SSL.Context(SSL.TLS_SERVER_METHOD) for _ in range(4)]
        self.one, self.other = PreparedContexts(self.contexts), PreparedContexts(self.contexts)

    def test_order(self) -> None:
        """The same settings get the same context in each, whatever came before."""
        first = [self.one.take(fingerprint(number)) for number in (1, 2, 7)]
        second = [self.other.take(fingerprint(number)) for number in (7, 1)]
        self.assertEqual(first, [self.contexts[1], self.contexts[2], self.contexts[3]])
        self.assertEqual(second, [first[2], first[0]])

    def test_taken(self) -> None:
        """A context is used once: the next that is free is taken then, from the first on after the
        last; and where none is left, one is made.
        """
        found = [self.one.take(fingerprint(2)) for _ in range(4)]
        self.assertEqual(found, [self.contexts[place] for place in (2, 3, 0, 1)])
        self.assertNotIn(self.one.take(fingerprint(2)), self.contexts)

    def test_nothing_prepared(self) -> None:
        """A process that was not forked makes each when it is asked for."""
        self.assertIsInstance(PreparedContexts().take(fingerprint(1)), SSL.Context)

    def test_prepare(self) -> None:
        """So many are made."""
        contexts = PreparedContexts()
        contexts.prepare()
        found = {contexts.take(fingerprint(number)) for number in range(NUMBER)}
        self.assertEqual(len(found), NUMBER)
