"""Rules for cipher suites, and the suites that Envoy makes of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import lists, sampled_from, text

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.net.tls.ciphers import BadCiphers, CipherList, cipher_list

_SHORT = {
    "e1": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "e2": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ec": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "eo1": "ECDHE-ECDSA-AES128-SHA",
    "eo2": "ECDHE-ECDSA-AES256-SHA",
    "r1": "ECDHE-RSA-AES128-GCM-SHA256",
    "r2": "ECDHE-RSA-AES256-GCM-SHA384",
    "rc": "ECDHE-RSA-CHACHA20-POLY1305",
    "ro1": "ECDHE-RSA-AES128-SHA",
    "ro2": "ECDHE-RSA-AES256-SHA",
    "s1": "AES128-GCM-SHA256",
    "s2": "AES256-GCM-SHA384",
    "so1": "AES128-SHA",
    "so2": "AES256-SHA",
}

#: What Envoy 1.40 chose with certificates of both kinds, first from all suites, then from the rest.
#: It prefers the certificate with an EC key; so those for the one key come before those for the
#: other.
RECORDED = {
    "ALL": "e1 e2 ec eo1 eo2 r1 r2 rc ro1 ro2 s1 s2 so1 so2",
    "ALL:@STRENGTH": "e2 ec eo2 e1 eo1 r2 rc ro2 s2 so2 r1 ro1 s1 so1",
    "-ALL:ECDHE-RSA-AES128-GCM-SHA256:AES128-SHA": "r1 so1",
    "ECDHE": "e1 e2 ec eo1 eo2 r1 r2 rc ro1 ro2",
    "ALL:+AES256": "e1 ec eo1 e2 eo2 r1 rc ro1 s1 so1 r2 ro2 s2 so2",
    "ALL:-AES128:AES128": "e2 ec eo2 e1 eo1 r2 rc ro2 s2 so2 r1 ro1 s1 so1",
    "ALL:!AES128:AES128": "e2 ec eo2 r2 rc ro2 s2 so2",
    "HIGH": "e1 e2 ec eo1 eo2 r1 r2 rc ro1 ro2 s1 s2 so1 so2",
    "ECDHE+AESGCM:kRSA": "e1 e2 r1 r2 s1 s2 so1 so2",
    "SHA": "eo1 eo2 ro1 ro2 so1 so2",
    "TLSv1.2": "e1 e2 ec r1 r2 rc s1 s2",
    "SSLv3": "eo1 eo2 ro1 ro2 so1 so2",
    "DEFAULT": "e1 e2 ec eo1 eo2 r1 r2 rc ro1 ro2 s1 s2 so1 so2",
    "": "e1 ec e2 r1 rc r2",
}

ACCEPTED = (
    "[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]",
    "TLS_AES_128_GCM_SHA256:ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-RSA-AES128-SHA256",
    "kECDHE",
    "aRSA",
    "AES",
    "CHACHA20",
    "RSA",
    "SHA1",
)

REFUSED = {
    "NOPE": "NOPE",
    "NOPE:ECDHE-RSA-AES128-GCM-SHA256": "NOPE",
    "[ECDHE-ECDSA-AES128-GCM-SHA256|NOPE]": "NOPE",
    "TLS_AES_128_GCM_SHA256": "TLS_AES_128_GCM_SHA256",
    "ALL:-RC4": "RC4",
    "ALL:!aNULL": "aNULL",
    "ALL:@SECLEVEL=0": "@SECLEVEL=0",
    "[AES128-SHA": "no list of cipher suites",
    "-ALL": "no list of cipher suites",
    "ecdhe-rsa-aes128-gcm-sha256": "ecdhe-rsa-aes128-gcm-sha256",
    "!NOPE:ECDHE-RSA-AES128-GCM-SHA256": "NOPE",
    "ECDHE-RSA-AES128-GCM-SHA256 ECDHE-RSA-AES256-GCM-SHA384": "unknown",
    "ECDHE-RSA-AES128-GCM-SHA256,ECDHE-RSA-AES256-GCM-SHA384": "unknown",
    "[]": "no list of cipher suites",
    "[[AES128-SHA]]": "no list of cipher suites",
    "[AES128-SHA]:-AES256-SHA": "no list of cipher suites",
    "ECDHE-RSA-AES256-SHA384": "unknown",
    "AES128-SHA256": "unknown",
    "DHE-RSA-AES128-GCM-SHA256": "unknown",
    "RC4-SHA": "unknown",
    "CBC": "unknown",
    "SHA256": "unknown",
}


def by_key(suites: tuple[str, ...]) -> list[str]:
    """Those for certificates with an EC key first."""
    return sorted(suites, key=lambda each: "ECDSA" not in each)


class CipherListTests(SynchronousTestCase):
    """Lists of rules."""

    def test_recorded(self) -> None:
        """Rules come to the suites that Envoy makes of them, in its order."""
        for rules, expected in RECORDED.items():
            found = cipher_list(rules.split(":"))
            wanted = [_SHORT[each] for each in expected.split()]
            self.assertEqual(by_key(found.suites), wanted, rules)

    def test_accepted(self) -> None:
        """Names of suites and of their properties are known, as BoringSSL and as RFCs have them."""
        for rules in ACCEPTED:
            self.assertTrue(cipher_list(rules.split(":")).suites, rules)

    def test_refused(self) -> None:
        """A name that BoringSSL does not know is refused by name, and rules that leave nothing."""
        for rules, pattern in REFUSED.items():
            with self.assertRaises(BadCiphers, msg=rules) as caught:
                cipher_list(rules.split(":"))
            self.assertIn(pattern, str(caught.exception))

    def test_old_and_weak(self) -> None:
        """What is old and weak is there only where it is named."""
        self.assertNotIn("DES-CBC3-SHA", cipher_list(["ALL"]).suites)
        self.assertEqual(cipher_list(["3DES"]).suites, ("DES-CBC3-SHA",))
        self.assertNotIn("ECDHE-RSA-AES128-SHA256", cipher_list(["ECDHE"]).suites)

    def test_no_keys_beforehand(self) -> None:
        """Suites of pre-shared keys are taken, and left out: nobody has such a key."""
        self.assertEqual(cipher_list(["PSK"]).suites, ())

    def test_groups(self) -> None:
        """Of a group the client chooses."""
        one, two, three = "AES128-SHA", "AES256-SHA", "AES128-GCM-SHA256"
        found = cipher_list([f"[{one}|{two}]", three, "[AES256-GCM-SHA384]"])
        expected = CipherList((one, two, three, "AES256-GCM-SHA384"), ((one, two),))
        self.assertEqual(found, expected)
        self.assertFalse(found.prefers_what_client_does)

    def test_preference_of_clients(self) -> None:
        """Envoy's own list, and no other that has no groups, leaves a client ChaCha20 first."""
        self.assertTrue(cipher_list([]).prefers_what_client_does)
        self.assertFalse(cipher_list(["ALL"]).prefers_what_client_does)

    @given(
        lists(sampled_from(["ALL", "AES", "-", "+", "!", "[", "]", "|", ":", "@", "x"]) | text())
    )
    def test_any_text(self, parts: list[str]) -> None:
        """Whatever is written, it is a list or refused."""
        try:
            found = cipher_list(["".join(parts)])
        except BadCiphers:
            return
        self.assertEqual(len(found.suites), len(set(found.suites)))
