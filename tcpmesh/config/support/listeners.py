"""The fields of a listener and its filter chains, and of the trees that choose these."""

from __future__ import annotations

from tcpmesh.config.support.rows import WHOLE, YES, Rows, no_effect

_UNREAD = no_effect("Envoy refuses it, but in the default chain, whose match nobody reads")

LISTENER: dict[str, Rows] = {
    "envoy.config.listener.v3.Listener": {
        "name": YES,
        "address": YES,
        "additional_addresses": YES,
        "stat_prefix": YES,
        "access_log": YES,
        "filter_chains": YES,
        "default_filter_chain": YES,
        "filter_chain_matcher": YES,
        "per_connection_buffer_limit_bytes": YES,
        "metadata": YES,
        "traffic_direction": YES,
        "enable_reuse_port": YES,
        "stats_matcher": YES,
        "tcp_backlog_size": YES,
        "ignore_global_conn_limit": YES,
        "max_connections_to_accept_per_socket_event": YES,
        "socket_options": YES,
        "listener_filters": YES,
        "listener_filters_timeout": YES,
        "continue_on_listener_filters_timeout": YES,
        "bind_to_port": YES,
        "deprecated_v1": YES,
        "use_original_dst": YES,
        "internal_listener": YES,
        "transparent": YES,
        "freebind": YES,
        "tcp_fast_open_queue_length": YES,
        "enable_mptcp": YES,
        "tcp_keepalive": YES,
        "reuse_port": no_effect("a port is shared anyway, unless enable_reuse_port says no"),
        "connection_balance_config": YES,
        "drain_type": YES,
        "bypass_overload_manager": YES,
    },
    "envoy.config.listener.v3.Listener.InternalListenerConfig": {},
    "envoy.config.listener.v3.AdditionalAddress": {
        "address": YES,
        "socket_options": YES,
        "tcp_keepalive": YES,
    },
    "envoy.config.listener.v3.Listener.ConnectionBalanceConfig": {
        "exact_balance": YES,
        "cpu_locality_balance": no_effect("the kernel spreads them over the workers"),
    },
    "envoy.config.listener.v3.Listener.ConnectionBalanceConfig.ExactBalance": {},
    "envoy.config.listener.v3.Listener.DeprecatedV1": {"bind_to_port": YES},
    "envoy.config.listener.v3.ListenerFilter": {
        "name": YES,
        "typed_config": YES,
        "filter_disabled": YES,
    },
    "envoy.config.listener.v3.ListenerFilterChainMatchPredicate": {
        "or_match": YES,
        "and_match": YES,
        "not_match": YES,
        "any_match": YES,
        "destination_port_range": YES,
    },
    "envoy.config.listener.v3.ListenerFilterChainMatchPredicate.MatchSet": {"rules": YES},
    "envoy.type.v3.Int32Range": {"start": YES, "end": YES},
    "envoy.config.listener.v3.FilterChain": {
        "name": YES,
        "filter_chain_match": YES,
        "filters": YES,
        "use_proxy_proto": YES,
        "metadata": YES,
        "transport_socket": YES,
        "transport_socket_connect_timeout": YES,
    },
    "envoy.config.listener.v3.FilterChainMatch": {
        "destination_port": YES,
        "prefix_ranges": YES,
        "server_names": YES,
        "transport_protocol": YES,
        "application_protocols": YES,
        "direct_source_prefix_ranges": YES,
        "source_type": YES,
        "source_prefix_ranges": YES,
        "source_ports": YES,
        "address_suffix": _UNREAD,
        "suffix_len": _UNREAD,
    },
    "envoy.config.core.v3.CidrRange": {"address_prefix": YES, "prefix_len": YES},
    "envoy.config.listener.v3.Filter": {"name": YES, "typed_config": YES},
}

_COMMON_INPUTS = "envoy.extensions.matching.common_inputs"
_INPUTS = f"{_COMMON_INPUTS}.network.v3"

#: What matching trees ask, and what they look up in.
EXTENSIONS: dict[str, Rows] = {
    f"{_INPUTS}.DestinationIPInput": {},
    f"{_INPUTS}.DestinationPortInput": {},
    f"{_INPUTS}.SourceIPInput": {},
    f"{_INPUTS}.SourcePortInput": {},
    f"{_INPUTS}.DirectSourceIPInput": {},
    f"{_INPUTS}.SourceTypeInput": {},
    f"{_INPUTS}.ServerNameInput": {},
    f"{_INPUTS}.TransportProtocolInput": {},
    f"{_INPUTS}.ApplicationProtocolInput": {},
    f"{_INPUTS}.FilterStateInput": {"key": YES, "field": YES},
    f"{_COMMON_INPUTS}.ssl.v3.DnsSanInput": {},
    f"{_COMMON_INPUTS}.ssl.v3.SubjectInput": {},
    f"{_COMMON_INPUTS}.ssl.v3.UriSanInput": {},
    "envoy.extensions.matching.input_matchers.ip.v3.Ip": {
        "cidr_ranges": YES,
        "stat_prefix": no_effect(
            "counts inputs that are no IP address, as those of addresses always are"
        ),
    },
    "xds.type.matcher.v3.IPMatcher": {"range_matchers": YES},
    "xds.type.matcher.v3.ServerNameMatcher": {"domain_matchers": YES},
}

#: Matching trees.
PARTS: dict[str, Rows] = {
    "xds.core.v3.CidrRange": {"address_prefix": YES, "prefix_len": YES},
    "xds.core.v3.TypedExtensionConfig": {"name": YES, "typed_config": YES},
    "xds.type.matcher.v3.IPMatcher.IPRangeMatcher": {
        "ranges": YES,
        "on_match": YES,
        "exclusive": YES,
    },
    "xds.type.matcher.v3.Matcher": {
        "matcher_list": YES,
        "matcher_tree": YES,
        "on_no_match": YES,
    },
    "xds.type.matcher.v3.Matcher.MatcherList": {"matchers": YES},
    "xds.type.matcher.v3.Matcher.MatcherList.FieldMatcher": {"predicate": YES, "on_match": YES},
    "xds.type.matcher.v3.Matcher.MatcherList.Predicate": {
        "single_predicate": YES,
        "or_matcher": YES,
        "and_matcher": YES,
        "not_matcher": YES,
    },
    "xds.type.matcher.v3.Matcher.MatcherList.Predicate.PredicateList": {"predicate": YES},
    "xds.type.matcher.v3.Matcher.MatcherList.Predicate.SinglePredicate": {
        "input": YES,
        "value_match": YES,
        "custom_match": YES,
    },
    "xds.type.matcher.v3.Matcher.MatcherTree": {
        "input": YES,
        "exact_match_map": YES,
        "prefix_match_map": YES,
        "custom_match": YES,
    },
    "xds.type.matcher.v3.Matcher.MatcherTree.MatchMap": {"map": YES},
    "xds.type.matcher.v3.Matcher.OnMatch": {
        "matcher": YES,
        "action": WHOLE,
        "keep_matching": YES,
    },
    "xds.type.matcher.v3.RegexMatcher": {"google_re2": YES, "regex": YES},
    "xds.type.matcher.v3.RegexMatcher.GoogleRE2": {},
    "xds.type.matcher.v3.ServerNameMatcher.DomainMatcher": {"domains": YES, "on_match": YES},
    "xds.type.matcher.v3.StringMatcher": {
        "exact": YES,
        "prefix": YES,
        "suffix": YES,
        "safe_regex": YES,
        "contains": YES,
        "ignore_case": YES,
    },
}
