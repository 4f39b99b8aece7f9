"""What is wrong with TLS, and what only looks so: Envoy was asked about each."""

from __future__ import annotations

import base64
import json
import tempfile
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    pkcs12,
)

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.load import load
from tcpmesh.config.text.problems import ConfigError, Problem
from tests.net.tls.pki import Issued, authority, key_usage, rsa_key
from tests.net.tls.test_material import broken, staple

TYPE = "type.googleapis.com/"
TLS = TYPE + "envoy.extensions.transport_sockets.tls.v3."
ROOT = authority()
LEAF = ROOT.issue(names=["dns:a.test"])
OTHER = ROOT.issue()
SAN = {"match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": "x"}}]}


def text(*parts: str) -> dict[str, str]:
    """A data source with a text."""
    return {"inline_string": "".join(parts)}


def raw(data: bytes) -> dict[str, str]:
    """A data source with bytes."""
    return {"inline_bytes": base64.b64encode(data).decode()}


def pair(issued: Issued = LEAF, **more: Any) -> dict[str, Any]:
    """A `TlsCertificate`."""
    return {"certificate_chain": text(issued.pem), "private_key": text(issued.key_pem()), **more}


def bootstrap(
    side: str, common: dict[str, Any], secrets: list[Any], fields: dict[str, Any]
) -> dict[str, Any]:
    """One listener and one cluster, of which one has TLS."""
    kind = "Downstream" if side == "server" else "Upstream"
    typed = {"@type": f"{TLS}{kind}TlsContext", "common_tls_context": common, **fields}
    socket = {"transport_socket": {"name": "tls", "typed_config": typed}}
    proxy = {
        "@type": TYPE + "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "t",
        "cluster": "c",
    }
    chain: dict[str, Any] = {"filters": [{"name": "t", "typed_config": proxy}]}
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 9}}
    cluster = {
        "name": "c",
        "load_assignment": {
            "cluster_name": "c",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }
    (chain if side == "server" else cluster).update(socket)
    place = {"socket_address": {"address": "127.0.0.1", "port_value": 10000}}
    listener = {"name": "l", "address": place, "filter_chains": [chain]}
    resources = {"listeners": [listener], "clusters": [cluster], "secrets": secrets}
    return {"node": {"id": "n", "cluster": "c"}, "static_resources": resources}


class TlsTestCase(SynchronousTestCase):
    """Judges TLS on one side."""

    def judge(
        self,
        common: dict[str, Any],
        side: str = "server",
        secrets: list[Any] | None = None,
        environ: dict[str, str] | None = None,
        **fields: Any,
    ) -> tuple[list[Problem], list[Problem]]:
        """Errors and warnings."""
        config = json.dumps(bootstrap(side, common, secrets or [], fields), indent=1)
        try:
            loaded = load(config_yaml=config, environ=environ or {})
        except ConfigError as error:
            return list(error.problems), list(error.warnings)
        return [], list(loaded.warnings)

    def assert_fine(self, common: dict[str, Any], side: str = "server", **more: Any) -> None:
        """Nothing is wrong."""
        self.assertEqual(self.judge(common, side, **more)[0], [])

    def assert_says(
        self, pattern: str, path: str, common: dict[str, Any], side: str = "server", **more: Any
    ) -> None:
        """Something is wrong, at a field whose path ends so, and nothing else."""
        errors, _ = self.judge(common, side, **more)
        self.assertEqual(len(errors), 1, errors)
        self.assertRegex(errors[0].text, pattern)
        self.assertTrue(errors[0].path.endswith(path), errors[0].path)
        self.assertGreater(errors[0].place.line, 1)

    def assert_warns(
        self, pattern: str, common: dict[str, Any], side: str = "server", **more: Any
    ) -> None:
        """Nothing is wrong, and something is surely not meant."""
        errors, warnings = self.judge(common, side, **more)
        self.assertEqual(errors, [])
        self.assertRegex("\n".join(each.text for each in warnings), pattern)


class CertificateTests(TlsTestCase):
    """Certificates and their keys."""

    def certificate(self, message: dict[str, Any]) -> dict[str, Any]:
        """A context with it."""
        return {"tls_certificates": [message]}

    def test_good(self) -> None:
        """Certificates in every form that Envoy takes are fine on both sides."""
        for issued in (
            LEAF,
            ROOT.issue(key=rsa_key()),
            ROOT.issue(key=ec.generate_private_key(ec.SECP384R1())),
        ):
            for side in ("server", "client"):
                self.assert_fine(self.certificate(pair(issued)), side)
        encrypted = pair(private_key=text(LEAF.key_pem(b"pw")), password=text("pw"))
        self.assert_fine(self.certificate(encrypted))
        self.assert_fine(self.certificate(pair(password=text("not needed"))))
        encryption = BestAvailableEncryption(b"pw")
        archive = pkcs12.serialize_key_and_certificates(None, LEAF.key, LEAF.cert, [], encryption)
        self.assert_fine(self.certificate({"pkcs12": raw(archive), "password": text("pw")}))

    def test_files_and_environment(self) -> None:
        """Certificates may be in files and in the environment, and have to be there."""
        folder = Path(tempfile.mkdtemp())
        path = folder / "chain.pem"
        path.write_text(LEAF.pem)
        message = {
            "certificate_chain": {"filename": str(path)},
            "private_key": {"environment_variable": "KEY"},
        }
        common = self.certificate(message)
        self.assert_fine(common, environ={"KEY": LEAF.key_pem()})
        self.assert_says("'KEY' is not set", "private_key.environment_variable", common)
        path.unlink()
        environ = {"KEY": LEAF.key_pem()}
        end = "certificate_chain.filename"
        self.assert_says("it does not exist", end, common, environ=environ)
        path.mkdir()
        self.assert_says("it is a directory", end, common, environ=environ)

    def test_broken(self) -> None:
        """What cannot be used is named, with the field at fault."""
        narrow = key_usage("key_agreement")
        for pattern, path, message in (
            ("no certificate in PEM", "certificate_chain", pair(certificate_chain=text("x"))),
            ("is empty", "certificate_chain", pair(certificate_chain=text(""))),
            ("cannot be read", "chain", pair(certificate_chain=text(broken(LEAF.pem)))),
            ("2048 bits", "chain", pair(ROOT.issue(key=rsa_key(1024)))),
            (
                "not secp224r1",
                "chain",
                pair(ROOT.issue(key=ec.generate_private_key(ec.SECP224R1()))),
            ),
            ("not be used for signatures", "chain", pair(ROOT.issue(usage=narrow))),
            ("no private key in PEM", "private_key", pair(private_key=text(LEAF.pem))),
            ("not that of the certificate", "private_key", pair(private_key=text(OTHER.key_pem()))),
            (
                "a later one in the chain",
                "private_key",
                pair(certificate_chain=text(ROOT.pem + LEAF.pem)),
            ),
            ("no password", "private_key", pair(private_key=text(LEAF.key_pem(b"pw")))),
            ("needs its private key", "private_key", {"certificate_chain": text(LEAF.pem)}),
            (
                "needs a certificate_chain",
                "certificate_chain",
                {"private_key": text(LEAF.key_pem())},
            ),
            ("PKCS#12", "pkcs12", {"pkcs12": raw(b"junk")}),
            ("has a pkcs12, or", "certificate_chain", {"pkcs12": raw(b"x"), **pair()}),
            ("no text", "ocsp_staple", pair(ocsp_staple=text("x"))),
        ):
            self.assert_says(pattern, path, self.certificate(message))
        wrong = pair(private_key=text(LEAF.key_pem(b"pw")), password=text("no"))
        self.assert_says("does not open", "password", self.certificate(wrong))

    def test_secrets_are_not_shown(self) -> None:
        """No password and no key stands in what is said of them."""
        wrong = pair(private_key=text(LEAF.key_pem(b"pw")), password=text("a-word-nobody-knows"))
        errors, _ = self.judge(self.certificate(wrong))
        self.assertNotIn("a-word-nobody-knows", str(errors))
        self.assertNotIn("BEGIN", str(errors))

    def test_of_servers(self) -> None:
        """A server needs a certificate, with a name; a client may have one, and no more."""
        self.assert_says("needs a certificate", "tls_certificates", {})
        self.assert_fine({}, "client")
        self.assert_says("with its private_key, or a pkcs12", "[0]", self.certificate({}))
        self.assert_fine(self.certificate({}), "client")
        nameless = self.certificate(pair(ROOT.issue("")))
        self.assert_says("neither a common name nor", "[0]", nameless)
        self.assert_fine(nameless, "client")
        two = {"tls_certificates": [pair(), pair(OTHER)]}
        self.assert_fine(two)
        self.assert_says("one certificate only", "tls_certificates", two, "client")

    def test_times(self) -> None:
        """A certificate out of its time is used, and said."""
        expired, future = ROOT.issue(begins=-9, ends=-1), ROOT.issue(begins=1)
        self.assert_warns("has expired on", self.certificate(pair(expired)))
        self.assert_warns("is not valid before", self.certificate(pair(future)))

    def test_staples(self) -> None:
        """An OCSP response has to be for its certificate, and be there where one is demanded."""
        good = staple(LEAF, ROOT).public_bytes(Encoding.DER)
        self.assert_fine(self.certificate(pair(ocsp_staple=raw(good))))
        old = staple(LEAF, ROOT, begins=-5, ends=-1).public_bytes(Encoding.DER)
        self.assert_fine(self.certificate(pair(ocsp_staple=raw(old))))
        wrong = self.certificate(pair(OTHER, ocsp_staple=raw(good)))
        self.assert_says("for another certificate", "ocsp_staple", wrong)
        junk = self.certificate(pair(ocsp_staple=raw(b"junk")))
        self.assert_says("no OCSP response", "ocsp_staple", junk)
        self.assert_fine(junk, "client")
        policy = {"ocsp_staple_policy": "MUST_STAPLE"}
        self.assert_says("MUST_STAPLE", "ocsp_staple", self.certificate(pair()), **policy)
        self.assert_fine(self.certificate(pair(ocsp_staple=raw(good))), **policy)
        demands = [(x509.TLSFeature([x509.TLSFeatureType.status_request]), False)]
        demanding = self.certificate(pair(ROOT.issue(more=demands)))
        self.assert_says("demands that an OCSP response", "ocsp_staple", demanding)

    def test_refused_by_name(self) -> None:
        """What the library cannot do is refused with the reason."""
        provider = {"provider_name": "x", "typed_config": {"@type": TYPE + "google.protobuf.Empty"}}
        message = {"certificate_chain": text(LEAF.pem), "private_key_provider": provider}
        self.assert_says("OpenSSL alone", "private_key_provider", self.certificate(message))
        keys: dict[str, Any] = {"session_ticket_keys": {"keys": [raw(bytes(80))]}}
        pattern = "cannot be given keys for session tickets"
        self.assert_says(pattern, "session_ticket_keys", self.certificate(pair()), **keys)


class ValidationTests(TlsTestCase):
    """What peers are held against."""

    def context(self, **context: Any) -> dict[str, Any]:
        """A context with a certificate."""
        return {"tls_certificates": [pair()], "validation_context": context}

    def trusting(self, **context: Any) -> dict[str, Any]:
        """One that trusts the authority."""
        return self.context(trusted_ca=text(ROOT.pem), **context)

    def test_good(self) -> None:
        """What Envoy takes is fine: bundles with keys and lists in them, authorities that are none,
        hashes in either form.
        """
        digest = "ab" * 32
        for common in (
            self.trusting(),
            self.context(trusted_ca=text(LEAF.pem)),
            self.context(trusted_ca=text(LEAF.key_pem(), ROOT.pem, "junk\n", ROOT.crl())),
            self.trusting(crl=text(ROOT.crl())),
            self.trusting(crl=text(ROOT.crl(begins=-9, ends=-1))),
            self.trusting(**SAN),
            self.context(verify_certificate_hash=[digest, ":".join(["ab"] * 32), digest.upper()]),
            self.context(verify_certificate_spki=[base64.b64encode(bytes(32)).decode()]),
            self.context(trust_chain_verification="ACCEPT_UNTRUSTED"),
            self.trusting(max_verify_depth=0, only_verify_leaf_cert_crl=True),
        ):
            self.assert_fine(common)
            self.assert_fine(common, "client")

    def test_broken(self) -> None:
        """What cannot be used is named, with the field at fault."""
        oid = {
            "match_typed_subject_alt_names": [
                {"san_type": "OTHER_NAME", "oid": "x", "matcher": {"exact": "x"}}
            ]
        }
        for pattern, path, common in (
            ("no certificate in PEM", "trusted_ca", self.context(trusted_ca=text("junk"))),
            ("no certificate in PEM", "trusted_ca", self.context(trusted_ca=text(ROOT.crl()))),
            ("cannot be read", "trusted_ca", self.context(trusted_ca=text(broken(ROOT.pem)))),
            ("cannot be read", "crl", self.trusting(crl=text(broken(ROOT.crl())))),
            ("without a trusted CA", "crl", self.context(crl=text(ROOT.crl()))),
            ("without a trusted CA", "match_typed_subject_alt_names", self.context(**SAN)),
            (
                "without a trusted CA",
                "match_subject_alt_names",
                self.context(match_subject_alt_names=[{"exact": "x"}]),
            ),
            (
                "without a trusted CA",
                "allow_expired_certificate",
                self.context(allow_expired_certificate=True),
            ),
            ("object identifier", "[0].oid", self.trusting(**oid)),
            (
                "hexadecimal",
                "verify_certificate_hash[0]",
                self.context(verify_certificate_hash=["zz" * 32]),
            ),
            (
                "hexadecimal",
                "verify_certificate_hash[0]",
                self.context(verify_certificate_hash=["ab" * 33]),
            ),
            (
                "base64",
                "verify_certificate_spki[0]",
                self.context(verify_certificate_spki=["!" * 44]),
            ),
            ("would verify nobody", "system_root_certs", self.context(system_root_certs={})),
        ):
            self.assert_says(pattern, path, common)

    def test_not_meant(self) -> None:
        """What accepts nobody, or everybody, is said."""
        old = authority(ends=-1)
        self.assert_warns("have expired", self.context(trusted_ca=text(old.pem)))
        self.assert_warns("there is none, so", self.trusting(crl=text(ROOT.pem)))
        self.assert_warns("no host is verified", {}, "client")
        self.assert_warns("no host is verified", self.context(), "client")
        plain = {"tls_certificates": [pair()]}
        self.assert_warns("all are served", plain, require_client_certificate=True)
        _, warnings = self.judge(self.trusting(), require_client_certificate=True)
        self.assertEqual(warnings, [])
        self.assertEqual(self.judge(self.trusting(), "client")[1], [])

    def test_server_name(self) -> None:
        """A name that is to be in a certificate needs an authority."""
        expects = {"sni": "a.test", "auto_sni_san_validation": True}
        self.assert_fine(self.trusting(), "client", **expects)
        end = "auto_sni_san_validation"
        self.assert_says("without a trusted CA", end, self.context(), "client", **expects)
        self.assert_says("zero byte", "sni", self.trusting(), "client", sni="a\0b")

    def spiffe(self, **config: Any) -> dict[str, Any]:
        """A context with the validator of SPIFFE."""
        typed = {"@type": TLS + "SPIFFECertValidatorConfig", **config}
        name = config.pop("name", "envoy.tls.cert_validator.spiffe")
        typed.pop("name", None)
        return self.context(custom_validator_config={"name": name, "typed_config": typed}, **SAN)

    def test_spiffe(self) -> None:
        """Trust domains have a bundle each, in PEM or in one file of JSON."""
        domain = {"name": "d", "trust_bundle": text(ROOT.pem)}
        key = {"use": "x509-svid", "x5c": [base64.b64encode(ROOT.der).decode()]}
        self.assert_fine(self.spiffe(trust_domains=[domain]))
        self.assert_fine(self.spiffe())
        bundles = self.bundles({"d": {"keys": [key]}})
        self.assert_fine(self.spiffe(trust_bundles=bundles))
        twice = self.spiffe(trust_domains=[domain, domain])
        self.assert_says("is there twice", "[1].name", twice)
        empty = self.spiffe(trust_domains=[{"name": "d"}])
        self.assert_says("needs a trust_bundle", "[0].trust_bundle", empty)
        junk = self.spiffe(trust_domains=[{"name": "d", "trust_bundle": text("x")}])
        self.assert_says("no certificate in PEM", "[0].trust_bundle", junk)
        unknown = self.spiffe(name="zzz", trust_domains=[domain])
        self.assert_says("no validator 'zzz'", "custom_validator_config.name", unknown)

    def bundles(self, domains: Any) -> dict[str, str]:
        """A file of bundles."""
        return text(json.dumps({"trust_domains": domains}))

    def test_broken_bundles(self) -> None:
        """A file of bundles that is none, or lacks something, is refused."""
        for pattern, source in (
            ("no bundle map", text("junk")),
            ("no bundle map", text("{}")),
            ("no trust domain", self.bundles({})),
            ("has no keys", self.bundles({"d": {}})),
            ("not for x509-svid", self.bundles({"d": {"keys": [{"use": "jwt-svid"}]}})),
            ("without certificates", self.bundles({"d": {"keys": [{"use": "x509-svid"}]}})),
            (
                "cannot be read",
                self.bundles({"d": {"keys": [{"use": "x509-svid", "x5c": ["!!"]}]}}),
            ),
        ):
            self.assert_says(pattern, "trust_bundles", self.spiffe(trust_bundles=source))


class ParameterTests(TlsTestCase):
    """Versions, cipher suites, curves and the rest of what is agreed on."""

    def params(self, **params: Any) -> dict[str, Any]:
        """A context with them."""
        return {"tls_certificates": [pair()], "tls_params": params}

    def test_names(self) -> None:
        """An unknown name is refused by name."""
        self.assert_fine(self.params(cipher_suites=["ECDHE-RSA-AES128-GCM-SHA256"]))
        for field, name in (
            ("cipher_suites", "ECDHE-NONSENSE"),
            ("ecdh_curves", "P-224"),
            ("signature_algorithms", "rsa_pkcs1_md5"),
        ):
            self.assert_says(name, field, self.params(**{field: [name]}))

    def test_versions(self) -> None:
        """Versions that leave none are taken, and said."""
        low, high = "tls_minimum_protocol_version", "tls_maximum_protocol_version"
        self.assert_fine(self.params(**{low: "TLSv1_0", high: "TLSv1_3"}))
        crossed = self.params(**{low: "TLSv1_3", high: "TLSv1_2"})
        self.assert_warns("no handshake will succeed", crossed)
        self.assert_warns("no handshake", self.params(**{low: "TLSv1_3"}), "client")

    def test_policies(self) -> None:
        """Envoy's policies are known."""
        for name in ("FIPS_202205", "CNSA1_202603", "CNSA2_202603"):
            self.assert_fine(self.params(compliance_policies=[name]))

    def test_protocols(self) -> None:
        """The name of a protocol is short."""
        common = {"tls_certificates": [pair()]}
        self.assert_fine({**common, "alpn_protocols": ["h2", "http/1.1"]})
        long = {**common, "alpn_protocols": ["h2", "x" * 256]}
        self.assert_says("at most 255", "alpn_protocols[1]", long)


PAIR = {"name": "pair", "tls_certificate": pair()}
PEERS = {"name": "peers", "validation_context": {"trusted_ca": text(ROOT.pem)}}


class SecretTests(TlsTestCase):
    """Static secrets, by their names."""

    def named(self, name: str) -> dict[str, Any]:
        """A context whose certificate is a secret."""
        return {"tls_certificate_sds_secret_configs": [{"name": name}]}

    def test_certificate(self) -> None:
        """A certificate may be a static secret, which has to be there and be one."""
        self.assert_fine(self.named("pair"), secrets=[PAIR, PEERS])
        for name in ("pai", "peers"):
            end = "tls_certificate_sds_secret_configs[0].name"
            secrets = [PAIR, PEERS]
            self.assert_says("no static secret", end, self.named(name), secrets=secrets)
        both = {"tls_certificates": [pair()], **self.named("pair")}
        self.assert_says("not both", "secret_configs", both, secrets=[PAIR])

    def test_broken(self) -> None:
        """A secret that cannot be used is refused where it stands, if anybody uses it."""
        wrong = {"name": "pair", "tls_certificate": pair(private_key=text(OTHER.key_pem()))}
        end = "secrets[0].tls_certificate.private_key"
        self.assert_says("not that of", end, self.named("pair"), secrets=[wrong])
        self.assert_fine({"tls_certificates": [pair()]}, secrets=[wrong])

    def test_names(self) -> None:
        """A name is there once for each kind."""
        common = self.named("pair")
        same = {**PEERS, "name": "pair"}
        self.assert_fine(common, secrets=[PAIR, same])
        end = "secrets[1].name"
        self.assert_says("duplicate static secret", end, common, secrets=[PAIR, PAIR])
        self.assert_says("holds nothing", "secrets[1]", common, secrets=[PAIR, {"name": "x"}])

    def test_validation(self) -> None:
        """A validation context may be a static secret, or be completed by one."""
        common = {"tls_certificates": [pair()]}
        named = {"validation_context_sds_secret_config": {"name": "peers"}}
        combined = {"combined_validation_context": {"default_validation_context": SAN, **named}}
        for more in (named, combined):
            self.assert_fine({**common, **more}, secrets=[PEERS])
            self.assert_fine({**common, **more}, "client", secrets=[PEERS])
            end = "validation_context_sds_secret_config.name"
            self.assert_says("no static secret 'peers'", end, {**common, **more})
        empty = {"name": "peers", "validation_context": {}}
        end = "default_validation_context.match_typed_subject_alt_names"
        self.assert_says("trusted CA", end, {**common, **combined}, secrets=[empty])

    def test_discovery(self) -> None:
        """Secrets come from files that are there, and not from a control plane."""
        for source, text, end in (
            ({"ads": {}}, "does not support it yet", "sds_config.ads"),
            ({"path": "/nowhere"}, "cannot read the file '/nowhere'", "sds_config.path"),
        ):
            config: dict[str, Any] = {"name": "x", "sds_config": source}
            common = {"tls_certificate_sds_secret_configs": [config]}
            self.assert_says(text, end, common)

    def test_still_to_come(self) -> None:
        """What discovery has still to bring is not judged, nor what follows from it."""
        source = {"path_config_source": {"path": "/dev/null"}}
        config = {"name": "x", "sds_config": source}
        own = {"tls_certificate_sds_secret_configs": [config]}
        peers = {"validation_context_sds_secret_config": config}
        combined = {"combined_validation_context": {"default_validation_context": SAN, **peers}}
        require: dict[str, Any] = {"require_client_certificate": True}
        verify: dict[str, Any] = {"auto_sni_san_validation": True}
        for common in ({**own, **peers}, {**own, **combined}):
            self.assertEqual(([], []), self.judge(common, **require))
            self.assertEqual(([], []), self.judge(common, "client", **verify))
        self.assertEqual(([], []), self.judge(own))

    def test_watched_directory(self) -> None:
        """Nobody looks after a directory where a certificate does not come from discovery, as in
        Envoy; that is told.
        """
        watched: dict[str, Any] = {"watched_directory": {"path": "/tmp"}}
        ca = {"trusted_ca": text(ROOT.pem), **watched}
        secret = {"name": "pair", "tls_certificate": pair(**watched)}
        for common, secrets in (
            ({"tls_certificates": [pair(**watched)]}, []),
            (self.named("pair"), [secret]),
            ({"tls_certificates": [pair()], "validation_context": ca}, []),
        ):
            self.assert_warns("nobody looks after it", common, secrets=secrets)
