"""OCSP responses that come with a certificate: who issued it says that it is still good.

Their signature is not looked at, as in Envoy: the client does that, for whom they are.
"""

from __future__ import annotations

import datetime

from cryptography.x509 import ocsp

from tcpmesh.facts import dataclass


class BadStaple(ValueError):
    """What is wrong with a response, in one sentence."""


@dataclass(frozen=True)
class Staple:
    """A response about one certificate, of which the serial number is known."""

    serial: int
    begins: datetime.datetime
    ends: datetime.datetime | None

    @classmethod
    def read(cls, der: bytes) -> Staple:
        """The response in DER.

        :raise BadStaple: it is none, or one about an error, or about several certificates.
        """
        try:
            response = ocsp.load_der_ocsp_response(der)
        except ValueError:
            raise BadStaple("it is no OCSP response in DER") from None
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            name = response.response_status.name
            raise BadStaple(f"the OCSP response is about an error, {name}")
        try:
            answers = list(response.responses)
            if len(answers) != 1:
                raise BadStaple("the OCSP response is not about exactly one certificate")
            return cls._of(answers[0])
        except BadStaple:
            raise
        except ValueError:
            raise BadStaple("the OCSP response cannot be read") from None

    @classmethod
    def _of(cls, answer: ocsp.OCSPSingleResponse) -> Staple:
        return cls(answer.serial_number, answer.this_update_utc, answer.next_update_utc)

    def has_expired(self, now: datetime.datetime) -> bool:
        """Whether it is of no use any more; that is so of one that says nothing of its end, too."""
        return self.ends is None or self.ends < now
