"""Formats with command operators: how they are taken apart, and which ones Envoy takes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.fields.operators import (
    FormatError,
    Operator,
    parse,
)

#: Texts that Envoy 1.40 refused.
REFUSED = """
% 100% %x% %HOSTNAME %HOSTNAME(% %HOSTNAME)% %HOSTNAME:% %HOSTNAME:a% %HOSTNAME:-1% %hostname%
%ENVIRONMENT()%
%ENVIRONMENT(HOME):2:3% %ENVIRONMENT(HOME)x% %FILTER_STATE(pre:plain)% %FILTER_STATE(pre:OTHER)%
%FILTER_STATE(pre:FIELD)%
%FILTER_STATE(addr:FIELD:)% %FILTER_STATE(pre:PLAIN:x)% %FILTER_STATE(:PLAIN)% %FILTER_STATE()%
%FILTER_STATE%
%DYNAMIC_METADATA()% %METADATA(NOPE:a)% %METADATA()% %START_TIME(%n)%
%COMMON_DURATION(DS_CX_BEG:DS_CX_END:x)% %REQ()%
%REQ(a?b?c)% %HOSTNAME:3% %SECRET(a)% %FILE_CONTENT(/etc/hostname)% %START_TIME(%s% %DURATION(a)%
%DURATION:5% %COMMON_DURATION%
%START_TIME:5% %RESPONSE_CODE_DETAILS:5% %REQUESTED_SERVER_NAME(a)% %PATH(a)% %QUERY_PARAMS(a)%
%GRPC_STATUS(a)%
%CLUSTER_METADATA(a):5% %COMMON_DURATION(a:b:ms:c)% %FILTER_STATE(a:TYPED:x)%
%ENVIRONMENT(HOME):99999999999999999999%
%RESP(a?b?c)% %REQUEST_HEADER(a?b?c)% %WORKER_ID% %START_TIME(%%n)%
"""

#: Texts that Envoy 1.40 took.
TAKEN = """
plain %% a%%b %HOSTNAME%x %ENVIRONMENT(HOME):2% %ENVIRONMENT(HOME):0% %FILTER_STATE(pre:PLAIN):2%
%FILTER_STATE(addr:FIELD:ip:x)% %FILTER_STATE(pre:TYPED)% %FILTER_STATE(a:)% %FILTER_STATE(a::)%
%FILTER_STATE(a:PLAIN:)%
%DYNAMIC_METADATA(a:b):3% %METADATA(DYNAMIC)% %METADATA(LISTENER:a)% %START_TIME(%)%
%START_TIME()% %START_TIME(a)b)%
%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(x)% %REQ(a?b):3% %DURATION()% %PATH()% %PATH(WQ:ORIG)%
%PATH:5%
%REQUESTED_SERVER_NAME(SNI_ONLY:ORIG)% %COMMON_DURATION(a:b)% %COMMON_DURATION(:b:us)%
%RESPONSE_CODE_DETAILS(a)%
%QUERY_PARAM(a?b?c)% %UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT(a)% %CLUSTER_METADATA(a)% %GRPC_STATUS()%
"""

#: Arguments of COALESCE that Envoy 1.40 took, and some that it refused.
COALESCE_TAKEN = (
    '{"operators":["UPSTREAM_HOST"]}',
    ' {"operators":["UPSTREAM_HOST"]} ',
    '{"operators":[{"command":"REQ","param":"a"}]}',
    '{"operators":[{"command":"ENVIRONMENT","param":"A","max_length":1,"more":1}],"x":1}',
    '{"operators":[{"command":"COALESCE","param":"{\\"operators\\":[\\"UPSTREAM_HOST\\"]}"}]}',
)
_COMMAND = '{"operators":[{"command":"ENVIRONMENT","param":"A","max_length":%s}]}'
COALESCE_REFUSED = (
    "",
    "x",
    "[]",
    "{}",
    "[" * 10000,
    '{"operators":[]}',
    '{"operators":"UPSTREAM_HOST"}',
    '{"operators":[1]}',
    '{"operators":["UPSTREAM_HOST",null]}',
    '{"operators":["UPSTREAM_HOST"],}',
    '{"operators":["NOPE"]}',
    '{"operators":["REQ"]}',
    '{"operators":[{"param":"A"}]}',
    '{"operators":[{"command":"UPSTREAM_HOST","param":"a"}]}',
    '{"operators":[{"command":"UPSTREAM_HOST","max_length":3}]}',
    '{"operators":[{"command":"ENVIRONMENT","param":1}]}',
    *(_COMMAND % length for length in ("0", "-1", "1.5", '"1"', "true", "9" * 20)),
)


class ParseTests(SynchronousTestCase):
    """A format is text and operators."""

    def test_parts(self) -> None:
        """Text stays together, percent signs are doubled, and an operator may have an argument and
        a length.
        """
        expected = ("a%b ", Operator("HOSTNAME"), Operator("ENVIRONMENT", "X y", 3), "%")
        self.assertEqual(parse("a%%b %HOSTNAME%%ENVIRONMENT(X y):3%%%"), expected)
        self.assertEqual(parse(""), ())

    def test_arguments(self) -> None:
        """An argument goes up to a parenthesis that ends the operator, so that it may have percent
        signs and parentheses.
        """
        self.assertEqual(parse("%START_TIME(%Y(%m))%!"), (Operator("START_TIME", "%Y(%m)"), "!"))

    def test_refused(self) -> None:
        """What Envoy refuses is refused."""
        for text in REFUSED.split():
            self.assertRaises(FormatError, parse, text)

    def test_taken(self) -> None:
        """What Envoy takes is taken."""
        for text in TAKEN.split():
            parse(text)

    def test_where(self) -> None:
        """The error tells where reading stopped."""
        error = self.assertRaises(FormatError, parse, "100% %HOSTNAME%")
        self.assertIn("at character 3 ", str(error))

    def test_coalesce(self) -> None:
        """The argument of COALESCE is judged as JSON, and each operator in it as any other."""
        for argument in COALESCE_TAKEN:
            parse(f"%COALESCE({argument})%")
        for argument in COALESCE_REFUSED:
            self.assertRaises(FormatError, parse, f"%COALESCE({argument})%")
