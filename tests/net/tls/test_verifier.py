"""The verifier beside Envoy, and what it makes of certificates that are none."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis.strategies import DataObject, binary, booleans, data, integers
from hypothesis.strategies import lists as lists_of
from OpenSSL._util import lib

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.net.tls.subject_names import NameKind, NameMatcher
from tcpmesh.net.tls.verifier import (
    ENCIPHERS,
    NO_CERTIFICATE,
    SIGNS,
    TrustDomain,
    ValidationSettings,
    Verdict,
    Verifier,
)
from tests.net.tls.cases import Case, cases
from tests.net.tls.pki import authority, key_usage, rsa_key

SIGNING = key_usage("digital_signature")
RECORDED = Path(__file__).with_name("recorded.json")


def certificates(source: dict[str, str]) -> tuple[bytes, ...]:
    """Those of a data source, in DER."""
    found = x509.load_pem_x509_certificates(source["inline_string"].encode())
    return tuple(each.public_bytes(Encoding.DER) for each in found)


def lists(source: dict[str, str]) -> tuple[bytes, ...]:
    """The revocation lists of a data source, in DER."""
    end = "-----END X509 CRL-----\n"
    parts = source["inline_string"].split("-----BEGIN X509 CRL-----")[1:]
    texts = ["-----BEGIN X509 CRL-----" + part.partition(end)[0] + end for part in parts]
    return tuple(x509.load_pem_x509_crl(each.encode()).public_bytes(Encoding.DER) for each in texts)


def matcher(kind: str, message: dict[str, Any], oid: str = "") -> NameMatcher:
    """A `StringMatcher`."""
    test, text = next((k, v) for k, v in message.items() if k != "ignore_case")
    text = text["regex"] if test == "safe_regex" else text
    return NameMatcher(NameKind[kind], test, text, message.get("ignore_case", False), oid)


def settings(case: Case) -> ValidationSettings:
    """The settings that a case's JSON comes to."""
    context = case.context or {}
    matchers = [
        matcher(each["san_type"], each["matcher"], each.get("oid", ""))
        for each in context.get("match_typed_subject_alt_names", ())
    ]
    matchers += [matcher("ANY", each) for each in context.get("match_subject_alt_names", ())]
    trusted = context.get("trusted_ca", {"inline_string": ""})
    crl = context.get("crl", {"inline_string": ""})
    found = lists(trusted) + lists(crl)
    return ValidationSettings(
        trusted_ca=certificates(trusted) if "trusted_ca" in context else (),
        crl=found,
        checks_revocation=bool(found) or "crl" in context,
        only_verify_leaf_cert_crl=context.get("only_verify_leaf_cert_crl", False),
        san_matchers=tuple(matchers),
        verify_certificate_hash=frozenset(
            bytes.fromhex(each.replace(":", ""))
            for each in context.get("verify_certificate_hash", ())
        ),
        verify_certificate_spki=frozenset(
            map(base64.b64decode, context.get("verify_certificate_spki", ()))
        ),
        accept_untrusted=context.get("trust_chain_verification") == "ACCEPT_UNTRUSTED",
        allow_expired_certificate=context.get("allow_expired_certificate", False),
        max_verify_depth=context.get("max_verify_depth"),
        trust_domains=tuple(
            TrustDomain(name, certificates(bundle)) for name, bundle in case.spiffe.items()
        )
        if case.spiffe
        else None,
    )


def judge(case: Case, side: str) -> Verdict:
    """What the verifier, and who asks it, make of a case."""
    demands = settings(case)
    if side == "server":
        if not demands.asks_for_certificate:
            return Verdict(True)
        if not case.chain:
            is_needed = demands.requires_certificate or (case.requires and demands.has_demands)
            return NO_CERTIFICATE if is_needed else Verdict(True)
    return Verifier(demands).verify(
        [each.der for each in case.chain],
        is_server=side == "server",
        server_name=case.expected_name,
    )


class VerifierBesideEnvoyTests(SynchronousTestCase):
    """Each case, as Envoy judges it."""

    maxDiff = None

    def test_verdicts(self) -> None:
        """The verifier refuses what Envoy refuses, with its words, counter and alert."""
        known = {case.name: case for case in cases()}
        wrong = []
        for recorded in json.loads(RECORDED.read_text()):
            verdict = judge(known[recorded["case"]], recorded["side"])
            counters = [
                each
                for each in recorded["counters"]
                if each not in ("no_certificate", "connection_error")
            ]
            saw = recorded["peer_saw"]
            expected = (
                saw == "ok",
                recorded["reason"],
                counters[0] if counters else None,
                "" if saw in ("ok", "certificate_required") else saw,
            )
            reason = verdict.reason.replace(" ", "_")
            found = (verdict.accepted, reason, verdict.counter, verdict.alert)
            if found != expected:
                wrong.append((recorded["side"], recorded["case"], found, expected))
        self.assertEqual(wrong, [])


class HostileCertificateTests(SynchronousTestCase):
    """Certificates that were made to break whoever reads them."""

    def setUp(self) -> None:
        root, middle = authority(), authority("middle")
        self.chain = [
            root.issue(names=["dns:a.test", "ip:10.1.2.3"], usage=SIGNING).der,
            middle.der,
        ]
        spiffe = TrustDomain("mesh", (root.der,))
        names = (NameMatcher(NameKind.DNS, "exact", "a.test"),)
        self.verifiers = (
            Verifier(ValidationSettings(trusted_ca=(root.der,), san_matchers=names)),
            Verifier(ValidationSettings(verify_certificate_spki=frozenset({bytes(32)}))),
            Verifier(ValidationSettings(trust_domains=(spiffe,))),
        )

    @given(data())
    def test_mutated_certificates(self, draw: DataObject) -> None:
        """Whatever bytes stand in a chain, there is a verdict, and never one that accepts a
        certificate that nobody signed.
        """
        place = draw.draw(integers(0, 1))
        der = bytearray(self.chain[place])
        for _ in range(draw.draw(integers(1, 4))):
            start = draw.draw(integers(0, len(der)))
            der[start : start + draw.draw(integers(0, 4))] = draw.draw(binary(max_size=4))
        chain = list(self.chain)
        chain[place] = bytes(der)
        for verifier in self.verifiers:
            verdict = verifier.verify(chain, is_server=draw.draw(booleans()))
            if verdict.accepted:
                self.assertEqual(chain[0], self.chain[0])
            else:
                self.assertTrue(verdict.error and verdict.alert)

    @given(lists_of(binary(max_size=200), max_size=4))
    def test_bytes_of_any_kind(self, chain: list[bytes]) -> None:
        """What is no certificate is refused."""
        for verifier in self.verifiers:
            self.assertFalse(verifier.verify(chain, is_server=True).accepted)

    def test_no_chain(self) -> None:
        """Without any certificate there is nothing to accept."""
        verdict = self.verifiers[0].verify([], is_server=False)
        self.assertFalse(verdict.accepted)
        self.assertIn("empty cert chain", verdict.reason)


class VerifierTests(SynchronousTestCase):
    """What the table of cases does not ask."""

    def setUp(self) -> None:
        self.root = authority()
        self.leaf = self.root.issue(names=["dns:a.test", "dns:*.w.test", "uri:spiffe://m/me"])

    def judge(self, expected: list[str], server_name: str = "", **fields: Any) -> Verdict:
        """The verdict on the leaf, where connections expect names."""
        demands = ValidationSettings(trusted_ca=(self.root.der,), **fields)
        return Verifier(demands).verify(
            [self.leaf.der], expected, is_server=False, server_name=server_name
        )

    def test_expected_names(self) -> None:
        """A connection can expect names of any kind, of which the certificate must have one; a
        wildcard of the certificate stands for a DNS name.
        """
        for good in ("a.test", "A.TEST", "x.w.test", "spiffe://m/me"):
            self.assertTrue(self.judge(["other.test", good]).validated, good)
        refused = self.judge(["b.test", "c.test"])
        self.assertFalse(refused.accepted)
        self.assertEqual(refused.counter, "fail_verify_san")
        self.assertIn(
            "verify cert failed: verify SAN list, expected SANs: [b.test, c.test], "
            "certificate SANs: [a.test, *.w.test, spiffe://m/me]:TLS_error_end",
            refused.reason,
        )

    def test_expected_names_and_settings(self) -> None:
        """Names that a connection expects are demanded besides those of the settings, and in the
        place of the name that was asked for.
        """
        named = (NameMatcher(NameKind.DNS, "exact", "no.test"),)
        self.assertIn("SAN matcher", self.judge(["a.test"], san_matchers=named).reason)
        self.assertTrue(self.judge(["a.test"], "b.test").accepted)
        self.assertIn("verify SAN list", self.judge(["b.test"], "a.test").reason)

    def test_names_expected_without_settings(self) -> None:
        """Where nothing is demanded there is nobody to trust a certificate's names to: who expects
        some is refused.
        """
        verifier = Verifier(ValidationSettings())
        self.assertTrue(verifier.verify([self.leaf.der], is_server=False).accepted)
        self.assertFalse(verifier.verify([self.leaf.der], ["a.test"], is_server=False).accepted)

    def test_key_exchange_of_rsa(self) -> None:
        """A certificate that only enciphers may be shown where the handshake enciphers with it."""
        leaf = self.root.issue(key=rsa_key(), usage=key_usage("key_encipherment"))
        verifier = Verifier(ValidationSettings(trusted_ca=(self.root.der,)))
        for usages, fits in ((SIGNS, False), (ENCIPHERS, True), ((*SIGNS, *ENCIPHERS), True)):
            verdict = verifier.verify([leaf.der], is_server=False, usages=usages)
            self.assertEqual(verdict.accepted, fits)

    def test_order_of_1_2(self) -> None:
        """Up to TLS 1.2 a certificate that may not sign is first of all one that nobody trusts, and
        where that is let pass it is counted.
        """
        stranger = authority("x").issue(key=rsa_key(), usage=key_usage("key_agreement"))
        trusted = ValidationSettings(trusted_ca=(self.root.der,))
        for demands, is_1_3, counter, text in (
            (trusted, True, None, "KEY_USAGE_BIT_INCORRECT"),
            (trusted, False, "fail_verify_error", "unable to get local issuer"),
            (replace(trusted, accept_untrusted=True), True, None, "KEY_USAGE"),
            (replace(trusted, accept_untrusted=True), False, "fail_verify_error", "KEY_USAGE"),
            (ValidationSettings(), False, None, "KEY_USAGE"),
        ):
            verdict = Verifier(demands).verify([stranger.der], is_server=True, is_1_3=is_1_3)
            self.assertEqual((verdict.accepted, verdict.counter), (False, counter))
            self.assertIn(text, verdict.reason)

    def test_no_trust_domains(self) -> None:
        """Where peers have to be of a trust domain and there is none, nobody is accepted."""
        leaf = self.root.issue(names=["uri:spiffe://m/me"], usage=SIGNING)
        demands = ValidationSettings(trusted_ca=(self.root.der,), trust_domains=())
        self.assertFalse(Verifier(demands).verify([leaf.der], is_server=True).accepted)

    def test_accepted_is_not_validated(self) -> None:
        """A certificate that was accepted without being checked is not taken for a checked one."""
        stranger = ValidationSettings(trusted_ca=(authority("x").der,), accept_untrusted=True)
        for demands in (ValidationSettings(), stranger):
            verdict = Verifier(demands).verify([self.leaf.der], is_server=True)
            self.assertEqual((verdict.accepted, verdict.validated), (True, False))

    def test_errors_do_not_leak(self) -> None:
        """A verdict leaves nothing behind in OpenSSL's list of errors, which the next connection
        would take for its own.
        """
        other = ValidationSettings(trusted_ca=(authority("root").der,), accept_untrusted=True)
        Verifier(other).verify([self.leaf.der], is_server=True)
        Verifier(other).verify([b"none"], is_server=True)
        self.assertEqual(lib.ERR_peek_error(), 0)

    def test_digest(self) -> None:
        """Settings of which any part differs have other hashes: their sessions are not resumed."""
        plain = ValidationSettings(trusted_ca=(self.root.der,))
        others = [
            replace(plain, trusted_ca=(self.root.der, self.leaf.der)),
            replace(plain, crl=(b"x",)),
            replace(plain, verify_certificate_hash=frozenset({b"x"})),
            replace(plain, verify_certificate_spki=frozenset({b"x"})),
            replace(plain, san_matchers=(NameMatcher(NameKind.DNS, "exact", "a"),)),
            replace(plain, accept_untrusted=True),
            replace(plain, allow_expired_certificate=True),
            replace(plain, max_verify_depth=1),
            replace(plain, checks_revocation=True),
            replace(plain, only_verify_leaf_cert_crl=True),
            replace(plain, trust_domains=()),
            replace(plain, trust_domains=(TrustDomain("m", (b"x",)),)),
        ]
        self.assertEqual(len({each.digest() for each in (plain, *others)}), len(others) + 1)
        self.assertEqual(replace(plain).digest(), plain.digest())

    def test_authority_that_is_none(self) -> None:
        """Settings with an authority that is no certificate cannot be used."""
        with self.assertRaises(ValueError):
            Verifier(ValidationSettings(trusted_ca=(b"none",)))
        with self.assertRaises(ValueError):
            Verifier(ValidationSettings(trusted_ca=(self.root.der,), crl=(b"none",)))
