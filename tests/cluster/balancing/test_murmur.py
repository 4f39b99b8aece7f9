"""MurmurHash64A."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.balancing.murmur import murmur_hash_2

#: What C{std::hash<std::string>} of GNU's C++ library gives: texts shorter than a word, of whole
#: words, and with a rest.
VALUES = {
    "": 6142509188972423790,
    "a": 4993892634952068459,
    "foo": 9631199822919835226,
    "bar": 11474628671133349555,
    "foo\nbar": 16306510975912980159,
    "12345678": 10113836418918046885,
    "123456789": 12315982496267331008,
    "127.0.0.1:80_0": 17613279263364193813,
    "1234567890123456": 10192219082897303685,
    "10.20.30.40:8080_1023": 283878722518163121,
}


class MurmurTests(SynchronousTestCase):
    """The function against another implementation."""

    def test_values(self) -> None:
        """With the seed of Envoy's rings it is the hash of GNU's C++ library."""
        self.assertEqual(VALUES, {text: murmur_hash_2(text.encode()) for text in VALUES})

    def test_seed(self) -> None:
        """Another seed is another hash; nothing, with seed 0, is 0."""
        self.assertEqual(0, murmur_hash_2(b"", 0))
        self.assertNotEqual(murmur_hash_2(b"foo"), murmur_hash_2(b"foo", 0))
