"""Names of versions, curves and signature algorithms, and Envoy's defaults."""

from __future__ import annotations

from OpenSSL import SSL
from OpenSSL._util import lib

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.net.tls.ciphers import BadCiphers, cipher_list
from tcpmesh.net.tls.names import (
    CURVES,
    POLICIES,
    SIGNATURE_ALGORITHMS,
    BadName,
    algorithms,
    curves,
    parameters,
    shown_curve,
)


class NamesTests(SynchronousTestCase):
    """Names that a configuration has."""

    def test_curves(self) -> None:
        """Curves are known by BoringSSL's names, those of NIST and of OpenSSL."""
        self.assertEqual(curves([]), CURVES)
        self.assertEqual(curves([""]), CURVES)
        self.assertEqual(curves(["P-384", "x25519"]), ("P-384", "X25519"))
        self.assertEqual(curves(["X25519:prime256v1"]), ("X25519", "P-256"))
        self.assertEqual(curves(["MLKEM1024"]), ("MLKEM1024",))

    def test_unknown_curves(self) -> None:
        """A curve that BoringSSL has not, or that is there twice, is refused by name."""
        for name in ("P-224", "secp256r1", "P256", "X448", "SecP256r1MLKEM768", "ffdhe2048"):
            with self.assertRaises(BadName) as caught:
                curves(["X25519", name])
            self.assertIn(f"unknown curve {name!r}", str(caught.exception))
        for twice in (["X25519", "X25519"], ["P-256", "prime256v1"]):
            with self.assertRaises(BadName):
                curves(twice)

    def test_algorithms(self) -> None:
        """Signature algorithms are known by the names of TLS 1.3, and by those of OpenSSL."""
        self.assertEqual(algorithms([]), SIGNATURE_ALGORITHMS)
        found = algorithms(["RSA+SHA256", "PSS+SHA512", "ed25519:ECDSA+SHA1", "mldsa65"])
        expected = ("rsa_pkcs1_sha256", "rsa_pss_rsae_sha512", "ed25519", "ecdsa_sha1", "mldsa65")
        self.assertEqual(found, expected)
        found = algorithms(["PSS+SHA256", "RSA-PSS+SHA384"])
        self.assertEqual(found, ("rsa_pss_rsae_sha256", "rsa_pss_rsae_sha384"))

    def test_unknown_algorithms(self) -> None:
        """A signature algorithm that BoringSSL has not, or that is there twice, is refused."""
        for name in ("rsa_pss_pss_sha256", "rsa_pkcs1_md5", "ed448", "NOPE", "RSA+SHA224"):
            with self.assertRaises(BadName):
                algorithms([name])
        with self.assertRaises(BadName):
            algorithms(["ed25519", "ed25519"])

    def test_openssl_knows_them(self) -> None:
        """OpenSSL has every name that a list comes to."""
        context = SSL.Context(SSL.TLS_METHOD)
        every = (
            *CURVES,
            *(each for policy in POLICIES.values() for each in policy.curves),
            *curves(["P-521", "P-384", "MLKEM1024"]),
        )
        for name in every:
            self.assertTrue(lib.SSL_CTX_set1_curves_list(context._context, name.encode()), name)
        every = (*SIGNATURE_ALGORITHMS, "ecdsa_sha1", "mldsa44", "mldsa65", "mldsa87")
        for name in every:
            self.assertTrue(lib.SSL_CTX_set1_sigalgs_list(context._context, name.encode()), name)
        for suite in cipher_list(["ALL", "ECDHE-RSA-AES128-SHA256"]).suites:
            context.set_cipher_list(f"{suite}:@SECLEVEL=0".encode())
        for policy in POLICIES.values():
            context.set_tls13_ciphersuites(":".join(policy.tls13_ciphers).encode())

    def test_shown(self) -> None:
        """The curve of a handshake is shown by BoringSSL's name."""
        names = ["x25519", "secp256r1", "prime256v1", "secp384r1", "X25519MLKEM768"]
        shown = [shown_curve(each) for each in names]
        self.assertEqual(shown, ["X25519", "P-256", "P-256", "P-384", "X25519MLKEM768"])


class ParametersTests(SynchronousTestCase):
    """What a configuration's parameters come to."""

    def test_versions(self) -> None:
        """Without being told, servers speak TLS 1.2 and 1.3, and clients TLS 1.2 alone."""
        server, client = parameters(is_server=True), parameters(is_server=False)
        self.assertEqual((server.minimum, server.maximum), (0x0303, 0x0304))
        self.assertEqual((client.minimum, client.maximum), (0x0303, 0x0303))
        told = parameters(is_server=False, minimum="TLSv1_0", maximum="TLSv1_3")
        self.assertEqual((told.minimum, told.maximum), (0x0301, 0x0304))
        auto = parameters(is_server=True, minimum="TLS_AUTO", maximum="TLS_AUTO")
        self.assertEqual(auto, server)

    def test_policy(self) -> None:
        """A policy takes the place of all that is said besides, which has to be right even so."""
        for name, expected in POLICIES.items():
            found = parameters(is_server=True, policy=name, ecdh_curves=["X25519"])
            self.assertEqual(found, expected)
        with self.assertRaises(BadCiphers):
            parameters(is_server=True, policy="FIPS_202205", cipher_suites=["NOPE"])
