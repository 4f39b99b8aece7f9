"""Secrets of discovery: read, judged and made whole."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, tls_pb2
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from google.protobuf.json_format import ParseDict

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config import secrets as module
from tcpmesh.config.fields.tls.secrets import key_of
from tcpmesh.config.resources import SECRET, Resources
from tcpmesh.config.secrets import (
    TRIES,
    FoundSecret,
    SecretUse,
    folders_of,
    load_secret,
    read_again,
    secret_uses,
    with_contents,
)
from tcpmesh.testing.tls import authority

OWN, TRUST = ("tls_certificate", "own", "x"), ("validation_context", "trust", "x")
SERVER = SecretUse(is_server=True)


class SecretsTestCase(SynchronousTestCase):
    """Base: a folder."""

    def setUp(self) -> None:
        """It is empty."""
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def pair(self, subject: str = "a.test", key_of_subject: str = "") -> dict[str, Any]:
        """A certificate in files."""
        chain, key = authority().issue(subject)
        if key_of_subject:
            _, key = authority().issue(key_of_subject)
        (self.folder / "a.crt").write_bytes(chain)
        (self.folder / "a.key").write_bytes(key)
        return {
            "certificate_chain": {"filename": str(self.folder / "a.crt")},
            "private_key": {"filename": str(self.folder / "a.key")},
        }

    def load(self, secret: dict[str, Any], key: Any = OWN, *uses: SecretUse) -> Resources:
        """What is found in a file with this secret."""
        path = self.folder / "s.json"
        typed = {"@type": f"type.googleapis.com/{SECRET}", **secret}
        path.write_text(json.dumps({"version_info": "v", "resources": [typed]}, indent=1))
        return load_secret(str(path), key, uses or (SERVER,), Bootstrap())

    def error(self, *args: Any) -> str:
        """The one thing that is wrong."""
        (error,) = self.load(*args).errors
        self.assertGreater(error.place.line, 1)
        return f"{error.path}: {error.text}"


class LoadTests(SecretsTestCase):
    """Files of secrets."""

    def test_good(self) -> None:
        """A certificate in files is found as it is named, and whole."""
        found = self.load({"name": "own", "tls_certificate": self.pair()})
        (secret,) = found.messages
        self.assertEqual(("v", ()), (found.version, found.errors))
        self.assertTrue(secret.message.tls_certificate.certificate_chain.filename)
        whole = secret.whole.tls_certificate
        self.assertEqual((self.folder / "a.key").read_bytes(), whole.private_key.inline_bytes)
        self.assertEqual(str(self.folder / "s.json"), secret.path)

    def test_wrong(self) -> None:
        """Each thing that is wrong is told at its place."""
        pair = self.pair(key_of_subject="b.test")
        for wrong, text in (
            ({"name": "own", "tls_certificate": pair}, "tls_certificate.private_key: the private"),
            ({"name": "you", "tls_certificate": pair}, "name: this is 'you', expected 'own'"),
            ({"name": "own", "validation_context": {}}, "'own' is no tls_certificate"),
        ):
            self.assertIn(f"resources[0]{'.' if text[0] in 'tn' else ''}", self.error(wrong))
            self.assertIn(text, self.error(wrong))

    def test_number(self) -> None:
        """There is one secret in a file."""
        path = self.folder / "s.json"
        for count in (0, 2):
            typed = {
                "@type": f"type.googleapis.com/{SECRET}",
                "name": "own",
                "tls_certificate": self.pair(),
            }
            path.write_text(json.dumps({"resources": [typed] * count}))
            (error,) = load_secret(str(path), OWN, (SERVER,), Bootstrap()).errors
            self.assertIn(f"one secret has to be there, not {count}", error.text)

    def test_uses(self) -> None:
        """It is judged by all that use it: what is good for one may be no good for another."""
        secret = {"name": "own", "tls_certificate": {}}
        self.assertEqual((), self.load(secret, OWN, SecretUse()).errors)
        self.assertIn("needs a certificate_chain", self.error(secret, OWN, SecretUse(), SERVER))
        secret = {"name": "own", "tls_certificate": self.pair()}
        strict = SecretUse(is_server=True, must_staple=True)
        self.assertIn("MUST_STAPLE", self.error(secret, OWN, SERVER, strict))

    def test_validation(self) -> None:
        """A validation context is judged with what it completes, and with what is asked of it."""
        names = {"san_type": "DNS", "matcher": {"exact": "x"}}
        default = ParseDict(
            {"match_typed_subject_alt_names": [names]}, common_pb2.CertificateValidationContext()
        ).SerializeToString()
        empty: dict[str, Any] = {"name": "trust", "validation_context": {}}
        self.assertEqual((), self.load(empty, TRUST, SecretUse()).errors)
        self.assertIn("trusted CA", self.error(empty, TRUST, SecretUse(default=default)))
        needed = SecretUse(needs_authority=True)
        self.assertIn("auto_sni_san_validation", self.error(empty, TRUST, needed))
        ca = {"trusted_ca": {"inline_string": authority().pem.decode()}}
        good = {"name": "trust", "validation_context": ca}
        for use in (SecretUse(default=default), needed):
            self.assertEqual((), self.load(good, TRUST, use).errors)

    def test_restless(self) -> None:
        """Files that are replaced while they are judged are read once more; not for ever."""
        secret = {"name": "own", "tls_certificate": self.pair()}
        judge = module._check_secret
        left = 1

        def judged(*args: Any) -> None:
            nonlocal left
            judge(*args)
            if left:
                left -= 1
                self.pair("b.test")

        self.patch(module, "_check_secret", judged)
        (found,) = self.load(secret).messages
        self.assertIn(b"BEGIN", found.whole.tls_certificate.certificate_chain.inline_bytes)
        left = TRIES
        (error,) = self.load(secret).errors
        self.assertIn("do not stay", error.text)
        left = TRIES - 1
        self.assertEqual((), self.load(secret).errors)


class AgainTests(SecretsTestCase):
    """Files that a secret names, read again."""

    def setUp(self) -> None:
        """A certificate was found."""
        super().setUp()
        found = self.load({"name": "own", "tls_certificate": self.pair()}).messages[0]
        self.found: FoundSecret = found

    def again(self) -> Any:
        """What there is now."""
        return read_again(self.found, OWN, (SERVER,))

    def test_same(self) -> None:
        """Nothing has changed."""
        self.assertEqual(self.found, self.again())

    def test_other(self) -> None:
        """Another certificate is there, of the same secret."""
        self.pair("b.test")
        after = self.again()
        self.assertEqual(self.found.message, after.message)
        self.assertNotEqual(self.found.whole, after.whole)

    def test_wrong(self) -> None:
        """What is wrong is told with the secret's file."""
        self.pair(key_of_subject="b.test")
        (error,) = self.again()
        self.assertEqual(
            (str(self.folder / "s.json"), "tls_certificate.private_key"),
            (error.place.file, error.path),
        )
        os.unlink(self.folder / "a.key")
        (error,) = self.again()
        self.assertIn("it does not exist", error.text)

    def test_restless(self) -> None:
        """Files that never stay as they are cannot be read."""
        judge = module._check_secret
        left = TRIES - 1

        def judged(*args: Any) -> None:
            nonlocal left
            judge(*args)
            if left:
                left -= 1
                self.pair("b.test")

        self.patch(module, "_check_secret", judged)
        self.assertIsInstance(self.again(), FoundSecret)
        left = TRIES
        (error,) = self.again()
        self.assertIn("do not stay", error.text)


class PartsTests(SynchronousTestCase):
    """What is in secrets and contexts."""

    def test_contents(self) -> None:
        """Files and environment variables give way to what is in them; what cannot be had stays
        named.
        """
        file = Path(self.mktemp())
        file.write_bytes(b"content")
        pair = {
            "certificate_chain": {"filename": str(file)},
            "private_key": {"environment_variable": "KEY"},
            "password": {"inline_string": "word"},
            "ocsp_staple": {"filename": "/nowhere"},
        }
        secret = ParseDict({"name": "own", "tls_certificate": pair}, Secret())
        found = with_contents(secret, {"KEY": "key"}).tls_certificate
        self.assertEqual(
            (b"content", b"key", "word", "/nowhere"),
            (
                found.certificate_chain.inline_bytes,
                found.private_key.inline_bytes,
                found.password.inline_string,
                found.ocsp_staple.filename,
            ),
        )
        self.assertEqual(str(file), secret.tls_certificate.certificate_chain.filename)

    def folders(self, **content: Any) -> Any:
        """What is looked after for a certificate."""
        return folders_of(ParseDict({"tls_certificate": content}, Secret()))

    def test_folders(self) -> None:
        """Files are looked after where they are, or where the secret says."""
        chain, key = {"filename": "/a/b/c.crt"}, {"filename": "/a/d/c.key"}
        both = {"certificate_chain": chain, "private_key": key}
        self.assertEqual(("/a/b/", "/a/d/"), self.folders(**both).paths)
        same = self.folders(certificate_chain=chain, private_key={"filename": "/a/b/c.key"})
        self.assertEqual((("/a/b/",), False), (same.paths, same.writes))
        found = self.folders(**both, watched_directory={"path": "/a", "watch_modify": True})
        self.assertEqual((("/a/",), True), (found.paths, found.writes))
        here = self.folders(certificate_chain={"filename": "c.crt"})
        self.assertEqual((os.path.join(os.getcwd(), ""),), here.paths)
        inline = {"certificate_chain": {"inline_string": "x"}}
        self.assertEqual((), self.folders(**inline, watched_directory={"path": "/a"}).paths)

    def test_context_uses(self) -> None:
        """A context uses the secrets that have an `sds_config`, each in its way."""
        source = {"path_config_source": {"path": "/x"}}
        own = {"name": "own", "sds_config": source}
        trust = {"name": "trust", "sds_config": source}
        combined = {
            "default_validation_context": {"allow_expired_certificate": True},
            "validation_context_sds_secret_config": trust,
        }
        common = {
            "tls_certificate_sds_secret_configs": [own, {"name": "static"}],
            "combined_validation_context": combined,
        }
        server = ParseDict(
            {"common_tls_context": common, "ocsp_staple_policy": "MUST_STAPLE"},
            tls_pb2.DownstreamTlsContext(),
        )
        (first, config, use), (second, _, other) = secret_uses(server)
        self.assertEqual((("tls_certificate", "own"), "own"), (first[:2], config.name))
        self.assertEqual(SecretUse(is_server=True, must_staple=True), use)
        self.assertEqual(first, key_of("tls_certificate", config))
        self.assertEqual(("validation_context", "trust"), second[:2])
        default = common_pb2.CertificateValidationContext(allow_expired_certificate=True)
        self.assertEqual(SecretUse(default=default.SerializeToString()), other)
        host = ParseDict(
            {
                "common_tls_context": {"validation_context_sds_secret_config": trust},
                "auto_sni_san_validation": True,
            },
            tls_pb2.UpstreamTlsContext(),
        )
        ((_, _, needed),) = secret_uses(host)
        self.assertEqual(SecretUse(needs_authority=True), needed)
