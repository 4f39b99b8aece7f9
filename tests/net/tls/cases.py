"""Peers that a verifier judges, and what it is told to demand of them.

`recorded.json` has what Envoy says to each: `make record-tls` asks it anew.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ObjectIdentifier

from tests.net.tls.pki import CLIENT_AUTH, SERVER_AUTH, Issued, authority, key_usage, rsa_key


@dataclass(frozen=True)
class Case:
    """A chain that a peer shows, and a `CertificateValidationContext` as JSON has it.

    `sides` are those on which the peer's judge is: `server` judges a client.
    """

    name: str
    chain: Sequence[Issued]
    context: dict[str, Any] | None
    sides: Sequence[str] = ("server", "client")
    expected_name: str = ""
    requires: bool = True
    spiffe: dict[str, Any] = field(default_factory=dict)


def inline(*pems: str) -> dict[str, str]:
    """A data source."""
    return {"inline_string": "".join(pems)}


def hash_of(issued: Issued) -> str:
    """As `verify_certificate_hash` has it."""
    return hashlib.sha256(issued.der).hexdigest()


def spki_of(issued: Issued) -> str:
    """As `verify_certificate_spki` has it."""
    form = PublicFormat.SubjectPublicKeyInfo
    der = issued.cert.public_key().public_bytes(Encoding.DER, form)
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


def san(kind: str, oid: str = "", **matcher: Any) -> dict[str, Any]:
    """A `SubjectAltNameMatcher`."""
    if "regex" in matcher:
        matcher["safe_regex"] = {"regex": matcher.pop("regex")}
    return {"san_type": kind, "matcher": matcher, **({"oid": oid} if oid else {})}


@cache
def cases() -> tuple[Case, ...]:
    """All, with certificates made when first asked for."""
    root, other = authority("root"), authority("other")
    ca = {"trusted_ca": inline(root.pem)}
    return (
        *_trust(root, other, ca),
        *_constraints(root, ca),
        *_times(root, ca),
        *_revocation(root, ca),
        *_pins(root, other, ca),
        *_names(root, ca),
        *_other_names(root, ca),
        *_usages(root, ca),
        *_spiffe(root, other),
    )


def _trust(root: Issued, other: Issued, ca: dict[str, Any]) -> list[Case]:
    leaf, middle = root.issue(), root.issue("middle", is_ca=True)
    below = middle.issue("below")
    deeper = middle.issue("middle2", is_ca=True)
    deepest = deeper.issue("deepest")
    lone = authority("lone", is_ca=False)
    untrusting = {**ca, "trust_chain_verification": "ACCEPT_UNTRUSTED"}
    named = {"match_typed_subject_alt_names": [san("DNS", exact="x.test")]}
    cases = [
        Case("trusted", [leaf], ca),
        Case("no certificate", [], ca, ("server",)),
        Case("no certificate, none required", [], ca, ("server",), requires=False),
        Case("no context", [other.issue()], None),
        Case("unknown authority", [other.issue()], ca),
        Case("unknown authority, not required", [other.issue()], ca, ("server",), requires=False),
        Case("unknown authority of the same name", [authority("root").issue()], ca),
        *(
            Case(
                f"another {name} authority of the same name",
                [authority("same", key=one).issue()],
                {"trusted_ca": inline(authority("same", key=two).pem)},
            )
            for name, one, two in (
                ("RSA", rsa_key(), rsa_key(2049)),
                ("Ed25519", Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()),
            )
        ),
        Case("empty context", [leaf], {}),
        Case("empty context, none shown", [], {}, ("server",)),
        Case("system's roots", [leaf], {"system_root_certs": {}}),
        Case(
            "untrusted of no authority, none shown",
            [],
            {k: untrusting[k] for k in list(untrusting)[1:]},
            ("server",),
        ),
        Case("unknown root shown", [other.issue(), other], ca),
        Case("signs itself", [lone], ca),
        Case("trusted as it is", [lone], {"trusted_ca": inline(lone.pem)}),
        Case("leaf trusted as it is", [leaf], {"trusted_ca": inline(leaf.pem)}),
        Case("intermediate shown", [below, middle], ca),
        Case("intermediate not shown", [below], ca),
        Case("intermediate trusted", [below], {"trusted_ca": inline(middle.pem)}),
        Case("root not needed", [below, middle], {"trusted_ca": inline(middle.pem)}),
        Case("order does not matter", [deepest, middle, deeper], ca),
        Case("strangers between", [below, other, middle], ca),
        Case("two authorities", [below, middle], {"trusted_ca": inline(other.pem, root.pem)}),
        Case("untrusted accepted", [other.issue()], untrusting),
        Case(
            "untrusted of no authority",
            [other.issue()],
            {k: untrusting[k] for k in list(untrusting)[1:]},
        ),
        Case("untrusted, but none shown", [], untrusting, ("server",)),
        Case("untrusted with another name", [other.issue()], {**untrusting, **named}),
        Case("trusted with another name", [leaf], {**untrusting, **named}),
        Case(
            "untrusted with another hash",
            [other.issue()],
            {**untrusting, "verify_certificate_hash": ["00" * 32]},
        ),
    ]
    for depth in range(3):
        context = {**ca, "max_verify_depth": depth}
        cases.append(Case(f"depth {depth} of 1", [leaf], context))
        cases.append(Case(f"depth {depth} of 2", [below, middle], context))
        cases.append(Case(f"depth {depth} of 3", [deepest, deeper, middle], context))
        cases.append(Case(f"depth {depth} untrusted", [other.issue()], context))
    return cases


def _constraints(root: Issued, ca: dict[str, Any]) -> list[Case]:
    no_ca = root.issue("no-ca")
    short = root.issue("short", is_ca=True, path_length=0)
    below = short.issue("middle", is_ca=True)
    no_sign = root.issue("no-sign", is_ca=True, usage=key_usage("digital_signature"))
    allowed = [(x509.NameConstraints([x509.DNSName("good.test")], None), True)]
    narrow = root.issue("narrow", is_ca=True, more=allowed)
    unknown = [(x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)]
    leaf = root.issue("forged")
    broken = x509.load_der_x509_certificate(leaf.der[:-4] + bytes(4))
    return [
        Case("issuer is no authority", [no_ca.issue(), no_ca], ca),
        Case("path too long", [below.issue(), below, short], ca),
        Case("issuer may not sign", [no_sign.issue(), no_sign], ca),
        Case("name allowed", [narrow.issue("", names=["dns:a.good.test"]), narrow], ca),
        Case("name forbidden", [narrow.issue("", names=["dns:a.bad.test"]), narrow], ca),
        Case("unknown critical extension", [root.issue(more=unknown)], ca),
        Case("broken signature", [Issued(broken, leaf.key)], ca),
    ]


def _times(root: Issued, ca: dict[str, Any]) -> list[Case]:
    expired = root.issue("expired", begins=-9, ends=-1)
    future = root.issue("future", begins=1, ends=9)
    old = root.issue("old", is_ca=True, begins=-9, ends=-1)
    old_root = authority("old-root", ends=-1)
    allowing = {**ca, "allow_expired_certificate": True}
    return [
        Case("expired", [expired], ca),
        Case("not yet valid", [future], ca),
        Case("expired intermediate", [old.issue(), old], ca),
        Case("expired root", [old_root.issue()], {"trusted_ca": inline(old_root.pem)}),
        Case("expired allowed", [expired], allowing),
        Case("not yet valid allowed", [future], allowing),
        Case("expired intermediate allowed", [old.issue(), old], allowing),
        Case("expired allowed, untrusted", [authority("x").issue(ends=-1, begins=-2)], allowing),
        Case(
            "expired allowed, not its revocation list",
            [expired],
            {**allowing, "crl": inline(root.crl(begins=-9, ends=-1))},
        ),
    ]


def _revocation(root: Issued, ca: dict[str, Any]) -> list[Case]:
    good, bad = root.issue("good"), root.issue("bad")
    middle = root.issue("middle", is_ca=True)
    below, gone = middle.issue("below"), middle.issue("gone")
    of_root = {**ca, "crl": inline(root.crl(bad))}
    both = inline(root.crl(), middle.crl(gone))
    only_leaf = {"only_verify_leaf_cert_crl": True}
    no_crl = root.issue("no-crl", is_ca=True, usage=key_usage("key_cert_sign"))
    return [
        Case("not revoked", [good], of_root),
        Case("revoked", [bad], of_root),
        Case("revoked in the bundle", [bad], {"trusted_ca": inline(root.pem, root.crl(bad))}),
        Case("no list of one issuer", [below, middle], of_root),
        Case("lists of all issuers", [below, middle], {**ca, "crl": both}),
        Case("revoked by the intermediate", [gone, middle], {**ca, "crl": both}),
        Case(
            "intermediate revoked",
            [below, middle],
            {**ca, "crl": inline(root.crl(middle), middle.crl())},
        ),
        Case(
            "intermediate revoked, only the leaf counts",
            [below, middle],
            {**ca, **only_leaf, "crl": inline(root.crl(middle), middle.crl())},
        ),
        Case(
            "only the leaf's list",
            [below, middle],
            {**ca, **only_leaf, "crl": inline(middle.crl())},
        ),
        Case(
            "only the leaf, no list of it",
            [below, middle],
            {**ca, **only_leaf, "crl": inline(root.crl())},
        ),
        Case("list expired", [good], {**ca, "crl": inline(root.crl(begins=-9, ends=-1))}),
        Case("list not yet valid", [good], {**ca, "crl": inline(root.crl(begins=1))}),
        Case("list of a stranger", [good], {**ca, "crl": inline(authority("stranger").crl())}),
        Case("list forged", [good], {**ca, "crl": inline(authority("root").crl())}),
        Case("no list in the file", [good], {**ca, "crl": inline(root.pem)}),
        Case(
            "newer of two lists", [bad], {**ca, "crl": inline(root.crl(begins=-3), root.crl(bad))}
        ),
        Case(
            "older of two lists", [bad], {**ca, "crl": inline(root.crl(bad, begins=-3), root.crl())}
        ),
        Case(
            "issuer may not sign lists",
            [no_crl.issue(), no_crl],
            {**ca, "crl": inline(root.crl(), no_crl.crl())},
        ),
    ]


def _pins(root: Issued, other: Issued, ca: dict[str, Any]) -> list[Case]:
    leaf, foreign = root.issue(), other.issue()
    colons = ":".join(hash_of(leaf)[i : i + 2] for i in range(0, 64, 2))
    return [
        Case("hash", [leaf], {"verify_certificate_hash": [hash_of(leaf)]}),
        Case("hash with colons", [leaf], {"verify_certificate_hash": ["00" * 32, colons]}),
        Case("hash in capitals", [leaf], {"verify_certificate_hash": [hash_of(leaf).upper()]}),
        Case("hash of another", [leaf], {"verify_certificate_hash": [hash_of(root)]}),
        Case("hash, none shown", [], {"verify_certificate_hash": [hash_of(leaf)]}, ("server",)),
        *(
            Case(f"{name}, none shown nor required", [], context, ("server",), requires=False)
            for name, context in (
                ("hash", {"verify_certificate_hash": [hash_of(leaf)]}),
                ("key", {**ca, "verify_certificate_spki": [spki_of(leaf)]}),
                ("name", {**ca, "match_typed_subject_alt_names": [san("DNS", exact="a.test")]}),
                (
                    "untrusted accepted with a hash",
                    {
                        "verify_certificate_hash": [hash_of(leaf)],
                        "trust_chain_verification": "ACCEPT_UNTRUSTED",
                    },
                ),
                ("depth", {**ca, "max_verify_depth": 0}),
            )
        ),
        Case("key", [leaf], {"verify_certificate_spki": [spki_of(leaf)]}),
        Case("key of another", [leaf], {"verify_certificate_spki": [spki_of(root)]}),
        Case(
            "key or hash",
            [leaf],
            {"verify_certificate_spki": [spki_of(leaf)], "verify_certificate_hash": ["00" * 32]},
        ),
        Case("hash and authority", [leaf], {**ca, "verify_certificate_hash": [hash_of(leaf)]}),
        Case(
            "hash but no authority",
            [foreign],
            {**ca, "verify_certificate_hash": [hash_of(foreign)]},
        ),
        Case("authority but no hash", [leaf], {**ca, "verify_certificate_hash": ["00" * 32]}),
        Case(
            "hash of an expired one",
            [e := other.issue(begins=-3, ends=-1)],
            {"verify_certificate_hash": [hash_of(e)]},
        ),
    ]


_ALL_NAMES = (
    "dns:a.test",
    "dns:*.w.test",
    "uri:spiffe://mesh/me",
    "email:me@a.test",
    "ip:10.1.2.3",
    "ip:fd00::1",
    "other:1.2.3.4=word",
)


def _names(root: Issued, ca: dict[str, Any]) -> list[Case]:
    leaf = root.issue("cn.test", names=_ALL_NAMES)
    matchers = [
        san("DNS", exact="a.test"),
        san("DNS", exact="A.test"),
        san("DNS", exact="A.TEST", ignore_case=True),
        san("DNS", exact="b.test"),
        san("DNS", exact="x.w.test"),
        san("DNS", exact="X.w.test"),
        san("DNS", exact="x.y.w.test"),
        san("DNS", exact="w.test"),
        san("DNS", exact=".w.test"),
        san("DNS", exact="*.w.test"),
        san("DNS", exact="x.w.test", ignore_case=True),
        san("DNS", prefix="a."),
        san("DNS", prefix="A.", ignore_case=True),
        san("DNS", prefix="A."),
        san("DNS", prefix="x."),
        san("DNS", suffix=".w.test"),
        san("DNS", suffix=".test"),
        san("DNS", contains="te"),
        san("DNS", contains="TE"),
        san("DNS", regex="[a-z]\\.test"),
        san("DNS", regex="test"),
        san("DNS", exact="spiffe://mesh/me"),
        san("DNS", exact="cn.test"),
        san("URI", exact="spiffe://mesh/me"),
        san("URI", exact="SPIFFE://mesh/me"),
        san("URI", prefix="spiffe://mesh/"),
        san("URI", regex="spiffe://[a-z]+/me"),
        san("URI", exact="a.test"),
        san("EMAIL", exact="me@a.test"),
        san("EMAIL", suffix="@a.test"),
        san("EMAIL", exact="ME@a.test"),
        san("IP_ADDRESS", exact="10.1.2.3"),
        san("IP_ADDRESS", prefix="10.1."),
        san("IP_ADDRESS", exact="fd00::1"),
        san("IP_ADDRESS", exact="fd00:0:0:0:0:0:0:1"),
        san("IP_ADDRESS", exact="10.1.2.4"),
        san("OTHER_NAME", "1.2.3.4", exact="word"),
        san("OTHER_NAME", "1.2.3.4", exact="another"),
        san("OTHER_NAME", "1.2.3.5", exact="word"),
    ]
    cases = [
        Case(f"name {_words(each)}", [leaf], {**ca, "match_typed_subject_alt_names": [each]})
        for each in matchers
    ]
    nameless = root.issue("a.test")
    odd_names = root.issue(names=["dir:x", "rid:1.2.3", "dns:a.test", "ip:::ffff:1.2.3.4"])
    cases.append(
        Case(
            "names of odd kinds",
            [odd_names],
            {**ca, "match_typed_subject_alt_names": matchers[3:4]},
        )
    )
    any_of = [san("DNS", exact="nope"), san("URI", prefix="spiffe:")]
    cases += [
        Case("one of several names", [leaf], {**ca, "match_typed_subject_alt_names": any_of}),
        Case("no names at all", [nameless], {**ca, "match_typed_subject_alt_names": matchers[:1]}),
        Case(
            "name of any type", [leaf], {**ca, "match_subject_alt_names": [{"exact": "me@a.test"}]}
        ),
        Case(
            "name of no type", [leaf], {**ca, "match_subject_alt_names": [{"exact": "me@b.test"}]}
        ),
        Case(
            "names and hash",
            [leaf],
            {**ca, "match_typed_subject_alt_names": any_of, "verify_certificate_hash": ["00" * 32]},
        ),
    ]
    for each in (
        "a.test",
        "A.TEST",
        "x.w.test",
        "x.y.w.test",
        "b.test",
        "10.1.2.3",
        "fd00::1",
        "cn.test",
        "spiffe://mesh/me",
        "me@a.test",
    ):
        cases.append(Case(f"expected {each}", [leaf], ca, ("client",), each))
    cases.append(
        Case(
            "expected, but not matched",
            [leaf],
            {**ca, "match_typed_subject_alt_names": [san("DNS", exact="no.test")]},
            ("client",),
            "a.test",
        )
    )
    cases.append(
        Case(
            "matched, but not expected",
            [leaf],
            {**ca, "match_typed_subject_alt_names": [san("DNS", exact="a.test")]},
            ("client",),
            "no.test",
        )
    )
    cases.append(Case("expected of one without names", [nameless], ca, ("client",), "a.test"))
    odd = {
        "*": ["x", "x.test"],
        "*.test": ["a.test", "test"],
        "a*.w.test": ["ab.w.test", "a.w.test", "a*.w.test"],
        "*b.w.test": ["ab.w.test"],
        "x.*.test": ["x.y.test"],
        "*.*.test": ["x.y.test"],
        "xn--*.test": ["xn--a.test"],
        "*.xn--a.test": ["x.xn--a.test"],
    }
    for pattern, asked in odd.items():
        one = root.issue(names=[f"dns:{pattern}"])
        for name in asked:
            context = {**ca, "match_typed_subject_alt_names": [san("DNS", exact=name)]}
            cases.append(Case(f"name {name} of {pattern}", [one], context))
    return cases


_VALUES = {
    "UTF8String": "0c03c3a461",
    "NumericString": "12023132",
    "PrintableString": "13026162",
    "T61String": "14026162",
    "IA5String": "16026162",
    "VisibleString": "1a026162",
    "GeneralString": "1b026162",
    "UniversalString": "1c0400000061",
    "BMPString": "1e0400610062",
    "OCTET STRING": "04026162",
    "BIT STRING": "03030061 62",
    "BOOLEAN": "0101ff",
    "BOOLEAN that is false": "010100",
    "INTEGER": "02020102",
    "negative INTEGER": "0202ff02",
    "long INTEGER": "0210" + "7f" * 16,
    "longer INTEGER": "0211" + "7f" * 17,
    "ENUMERATED": "0a0105",
    "NULL": "0500",
    "SEQUENCE": "30030201 01",
    "UTCTime": "170d3236303130313030303030305a",
    "long text": "0c8180" + "61" * 128,
    "longer text": "0c820100" + "61" * 256,
}
"""Values of names of a type of their own, in DER, by their types."""


def _other_names(root: Issued, ca: dict[str, Any]) -> list[Case]:
    """The failure lists the names, each as the text that it stands for."""
    context = {**ca, "match_typed_subject_alt_names": [san("OTHER_NAME", "1.2.3.4", exact="no")]}
    return [
        Case(f"other name, {name}", [root.issue(names=[f"der:{value}", "dns:a"])], context)
        for name, value in _VALUES.items()
    ]


def _words(matcher: dict[str, Any]) -> str:
    (kind, value), *rest = matcher["matcher"].items()
    value = value["regex"] if isinstance(value, dict) else value
    more = " in any case" if rest else ""
    return f"{matcher['san_type']} {matcher.get('oid', '')} {kind} {value}{more}"


def _usages(root: Issued, ca: dict[str, Any]) -> list[Case]:
    key, curve = rsa_key(), ec.generate_private_key(ec.SECP256R1())
    enciphers, signs = key_usage("key_encipherment"), key_usage("digital_signature")
    return [
        Case("made for clients", [root.issue(purposes=[CLIENT_AUTH])], ca),
        Case("made for servers", [root.issue(purposes=[SERVER_AUTH])], ca),
        Case("made for both", [root.issue(purposes=[SERVER_AUTH, CLIENT_AUTH])], ca),
        Case("RSA that signs", [root.issue(key=key, usage=signs)], ca),
        Case("RSA that only enciphers", [root.issue(key=key, usage=enciphers)], ca),
        Case("RSA that only enciphers, no context", [root.issue(key=key, usage=enciphers)], None),
        Case("EC that only agrees", [root.issue(key=curve, usage=key_usage("key_agreement"))], ca),
        Case("RSA of any use", [root.issue(key=key)], ca),
    ]


def _spiffe(root: Issued, other: Issued) -> list[Case]:
    bundles = {"mesh": inline(root.pem), "far": inline(other.pem)}
    usage = key_usage("digital_signature")

    def case(name: str, issuer: Issued, *names: str, **fields: Any) -> Case:
        leaf = issuer.issue(names=names, **{"usage": usage, **fields})
        return Case(f"spiffe: {name}", [leaf], {}, spiffe=bundles)

    matching = {"match_typed_subject_alt_names": [san("URI", exact="spiffe://mesh/other")]}
    return [
        case("good", root, "uri:spiffe://mesh/me"),
        case("good of another domain", other, "uri:spiffe://far/me"),
        case("wrong authority", other, "uri:spiffe://mesh/me"),
        case("unknown domain", root, "uri:spiffe://nowhere/me"),
        case("no URI", root, "dns:a.test"),
        case("no SPIFFE URI", root, "uri:http://mesh/me"),
        case("no names", root),
        case("domain alone", root, "uri:spiffe://mesh"),
        case("two URIs", root, "uri:spiffe://mesh/me", "uri:spiffe://mesh/you"),
        case("is an authority", root, "uri:spiffe://mesh/me", is_ca=True),
        case("may sign", root, "uri:spiffe://mesh/me", usage=key_usage("key_cert_sign")),
        case("may sign lists", root, "uri:spiffe://mesh/me", usage=key_usage("crl_sign")),
        case("no usage", root, "uri:spiffe://mesh/me", usage=None),
        case("expired", root, "uri:spiffe://mesh/me", begins=-3, ends=-1),
        Case("spiffe: none shown", [], {}, ("server",), spiffe=bundles),
        Case("spiffe: none required", [], {}, ("server",), requires=False, spiffe=bundles),
        Case(
            "spiffe: another name",
            [root.issue(names=["uri:spiffe://mesh/me"], usage=usage)],
            matching,
            spiffe=bundles,
        ),
    ]
