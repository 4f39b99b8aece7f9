"""Clusters whose choice of a host for a client is a function of the client's address: scenarios for
`record_hashes`.

Each has the fields of a cluster, and of the tcp_proxy in front of it.  Backends are named by
letters; `i` is IPv6, `p` a pipe.
"""

from __future__ import annotations

from typing import Any

PORT = 7001
ADDRESSES = {name: (f"127.0.1.{number}", PORT) for number, name in enumerate("abcdefgh", 1)}
ADDRESSES["i"] = ("::1", PORT)
PIPE = "@tcpmesh-differential"
SOURCES = tuple(f"127.0.0.{last}" for last in range(2, 122))

Fields = dict[str, Any]

BAD: Fields = {"health_status": "UNHEALTHY"}
DEGRADED: Fields = {"health_status": "DEGRADED"}


def host(name: str, lb: Fields | None = None, **fields: Any) -> Fields:
    """An `LbEndpoint`; `lb` is its metadata under `envoy.lb`."""
    if name == "p":
        address: Fields = {"pipe": {"path": PIPE}}
    else:
        ip, port = ADDRESSES[name]
        address = {"socket_address": {"address": ip, "port_value": port}}
    if lb is not None:
        fields["metadata"] = {"filter_metadata": {"envoy.lb": lb}}
    return {"endpoint": {"address": address}, **fields}


def keyed(name: str, **fields: Any) -> Fields:
    """An endpoint with a hash key."""
    return host(name, {"hash_key": "key of " + name}, **fields)


def weighted(**weights: int) -> list[Fields]:
    """Endpoints with weights."""
    return [host(name, load_balancing_weight=weight) for name, weight in weights.items()]


def cluster(*groups: Fields | list[Fields], **fields: Any) -> Fields:
    """The fields of a cluster of these `LocalityLbEndpoints`, or of these hosts."""
    endpoints = [{"lb_endpoints": group} if isinstance(group, list) else group for group in groups]
    return {"load_assignment": {"endpoints": endpoints}, **fields}


def zone(name: str, hosts: list[Fields], **fields: Any) -> Fields:
    """The endpoints of one zone."""
    return {"locality": {"zone": name}, "lb_endpoints": hosts, **fields}


def typed(name: str, **config: Any) -> Fields:
    """A `load_balancing_policy` of one typed extension, such as `maglev.v3.Maglev`."""
    kind = {
        "@type": f"type.googleapis.com/envoy.extensions.load_balancing_policies.{name}",
        **config,
    }
    return {"policies": [{"typed_extension_config": {"name": name, "typed_config": kind}}]}


def hosts(names: str) -> list[Fields]:
    """Endpoints with nothing but an address."""
    return [host(name) for name in names]


ZONES = (
    zone("z2", hosts("abc"), load_balancing_weight=3),
    zone(
        "z1",
        [host("d"), host("e", load_balancing_weight=4), host("f", **BAD)],
        load_balancing_weight=5,
    ),
    zone("z3", hosts("gh")),
)
WEIGHTS = weighted(a=3, b=1, c=7, d=2)
BY_LOCALITY: Fields = {"locality_weighted_lb_config": {}}
BOUND: Fields = {"consistent_hashing_lb_config": {"hash_balance_factor": 120}}


def _common(**policy: Any) -> dict[str, Fields]:
    """What both policies have in common."""
    return {
        "addresses": cluster(hosts("abcdefghip"), **policy),
        "order": cluster(hosts("piachgfebd"), **policy),
        "keys": cluster(
            [keyed("a"), host("b", {"hash_key": 5}), host("c", {"hash_key": ""}), keyed("d")],
            **policy,
        ),
        "weights": cluster(WEIGHTS, **policy),
        "extreme_weights": cluster(weighted(a=1, b=2000, c=1, d=700), **policy),
        "unhealthy": cluster([host("a"), host("b", **BAD), *hosts("cd")], **policy),
        "panic": cluster(
            [host("a"), host("b", **BAD), host("c", **BAD), host("d", **BAD)], **policy
        ),
        "no_panic": cluster(
            [host("a"), host("b", **BAD), host("c", **BAD)],
            common_lb_config={"healthy_panic_threshold": {"value": 10}},
            **policy,
        ),
        "priorities": cluster(
            [host("a"), host("b"), host("c", **BAD), host("d", **BAD)],
            {"priority": 1, "lb_endpoints": hosts("efg")},
            **policy,
        ),
        "degraded": cluster(
            [host("a"), host("b", **BAD), host("c", **DEGRADED), host("d", **DEGRADED)], **policy
        ),
        "localities": cluster(*ZONES, common_lb_config=BY_LOCALITY, **policy),
        "localities_without_weighting": cluster(*ZONES, **policy),
        "bound": cluster(WEIGHTS, common_lb_config=BOUND, **policy),
        "bound_equal": cluster(hosts("abcdefgh"), common_lb_config=BOUND, **policy),
    }


CLUSTERS: dict[str, Fields] = {
    **{f"ring_{name}": fields for name, fields in _common(lb_policy="RING_HASH").items()},
    **{f"maglev_{name}": fields for name, fields in _common(lb_policy="MAGLEV").items()},
    "ring_fractions": cluster(
        hosts("abc"),
        lb_policy="RING_HASH",
        ring_hash_lb_config={"minimum_ring_size": 7, "maximum_ring_size": 10},
    ),
    "ring_at_most": cluster(
        WEIGHTS,
        lb_policy="RING_HASH",
        ring_hash_lb_config={"minimum_ring_size": 50, "maximum_ring_size": 51},
    ),
    "ring_smaller_than_hosts": cluster(
        hosts("abcdefgh"),
        lb_policy="RING_HASH",
        ring_hash_lb_config={"minimum_ring_size": 1, "maximum_ring_size": 5},
    ),
    "ring_murmur": cluster(
        hosts("abcdefghip"),
        lb_policy="RING_HASH",
        ring_hash_lb_config={"hash_function": "MURMUR_HASH_2"},
    ),
    "ring_typed": cluster(
        WEIGHTS,
        load_balancing_policy=typed(
            "ring_hash.v3.RingHash", hash_function="MURMUR_HASH_2", minimum_ring_size=100
        ),
    ),
    "ring_typed_bound": cluster(
        WEIGHTS,
        load_balancing_policy=typed(
            "ring_hash.v3.RingHash", consistent_hashing_lb_config={"hash_balance_factor": 110}
        ),
    ),
    "ring_typed_old_bound": cluster(
        WEIGHTS, load_balancing_policy=typed("ring_hash.v3.RingHash", hash_balance_factor=110)
    ),
    "ring_typed_localities": cluster(
        *ZONES, load_balancing_policy=typed("ring_hash.v3.RingHash", locality_weighted_lb_config={})
    ),
    "maglev_small": cluster(WEIGHTS, lb_policy="MAGLEV", maglev_lb_config={"table_size": 13}),
    "maglev_smaller_than_hosts": cluster(
        hosts("abcdefgh"), lb_policy="MAGLEV", maglev_lb_config={"table_size": 5}
    ),
    "maglev_two": cluster(
        hosts("abcdefgh"), lb_policy="MAGLEV", maglev_lb_config={"table_size": 2}
    ),
    "maglev_typed": cluster(
        WEIGHTS,
        load_balancing_policy=typed(
            "maglev.v3.Maglev",
            table_size=1009,
            consistent_hashing_lb_config={"hash_balance_factor": 130},
        ),
    ),
    "maglev_typed_localities": cluster(
        *ZONES, load_balancing_policy=typed("maglev.v3.Maglev", locality_weighted_lb_config={})
    ),
}

# ---------------------------------------------------------------- subsets

PROD = [
    host("a", {"stage": "prod", "v": 1}),
    host("b", {"stage": "prod", "v": 2}),
    host("c", {"stage": "dev", "v": 2}),
]
MORE = [
    host("d", {"stage": "prod", "v": [1, 3]}),
    host("e", {"v": []}),
    host("f", {"stage": True}),
    host("g"),
]
SELECTORS = [{"keys": ["stage"]}, {"keys": ["stage", "v"]}]


def subset(
    *groups: Any,
    match: Fields | None = None,
    lb_policy: str = "RING_HASH",
    common: Fields | None = None,
    **config: Any,
) -> Fields:
    """A cluster with subsets, and the `metadata_match` of those that come to it."""
    config.setdefault("subset_selectors", SELECTORS)
    fields = cluster(
        *(groups or (PROD + MORE,)),
        lb_policy=lb_policy,
        lb_subset_config=config,
        common_lb_config=common or {},
    )
    if match is not None:
        fields["match"] = match
    return fields


def fallback(keys: list[str], policy: str, *reduced: str) -> Fields:
    """A selector with a fallback policy of its own."""
    more = {"fallback_keys_subset": list(reduced)} if reduced else {}
    return {"keys": keys, "fallback_policy": policy, **more}


DEFAULT: Fields = {"fallback_policy": "DEFAULT_SUBSET", "default_subset": {"stage": "dev"}}
ANY: Fields = {"fallback_policy": "ANY_ENDPOINT"}
SICK = [
    host("a", {"stage": "prod"}, **BAD),
    host("b", {"stage": "prod"}, **BAD),
    host("c", {"stage": "dev"}),
]
PER_SELECTOR = [
    fallback(["stage"], "DEFAULT_SUBSET"),
    fallback(["stage", "v"], "KEYS_SUBSET", "stage"),
    fallback(["v"], "ANY_ENDPOINT"),
    fallback(["v", "zone"], "NO_FALLBACK"),
]
CHAIN = [fallback(["a", "b"], "KEYS_SUBSET", "b"), fallback(["b"], "ANY_ENDPOINT")]
LIST: Fields = {"list_as_any": True}
TRIES: Fields = {"fallback_list": [{"stage": "qa"}, {"v": 2}, {"stage": "dev"}]}
FALL: Fields = {"metadata_fallback_policy": "FALLBACK_LIST"}
ONE: Fields = {"subset_selectors": [{"keys": ["v"], "single_host_per_subset": True}]}
ZONED = (
    zone(
        "z1",
        [host("a", {"s": 1}), host("b", {"s": 2}), host("c", {"s": 2})],
        load_balancing_weight=1,
    ),
    zone(
        "z2",
        [host("d", {"s": 1}), host("e", {"s": 1}), host("f", {"s": 1}), host("g", {"s": 2})],
        load_balancing_weight=2,
    ),
)
BY_S: Fields = {"subset_selectors": [{"keys": ["s"]}], "common": BY_LOCALITY}

SUBSETS: dict[str, Fields] = {
    "one_key": subset(match={"stage": "prod"}),
    "two_keys": subset(match={"v": 2, "stage": "prod"}),
    "number_is_no_text": subset(match={"v": "2", "stage": "prod"}),
    "true_is_not_1": subset(match={"stage": True}),
    "no_such_value": subset(match={"stage": "qa"}),
    "no_such_selector": subset(match={"v": 2}),
    "one_key_too_many": subset(match={"stage": "prod", "v": 1, "x": 1}, **ANY),
    "no_match_given": subset(),
    "empty_match": subset(match={}, **ANY),
    "any": subset(match={"stage": "qa"}, **ANY),
    "default": subset(match={"stage": "qa"}, **DEFAULT),
    "default_without_match": subset(**DEFAULT),
    "default_empty": subset(fallback_policy="DEFAULT_SUBSET"),
    "default_of_nobody": subset(fallback_policy="DEFAULT_SUBSET", default_subset={"stage": "qa"}),
    "default_of_nobody_panic_any": subset(
        fallback_policy="DEFAULT_SUBSET", default_subset={"stage": "qa"}, panic_mode_any=True
    ),
    "panic_any_without_fallback": subset(match={"stage": "qa"}, panic_mode_any=True),
    "sick_subset": subset(SICK, match={"stage": "prod"}, **ANY),
    "sick_subset_no_panic": subset(
        SICK,
        match={"stage": "prod"},
        panic_mode_any=True,
        common={"healthy_panic_threshold": {"value": 0}},
        **ANY,
    ),
    "list_is_a_value": subset(match={"stage": "prod", "v": [1, 3]}),
    "list_as_any": subset(match={"stage": "prod", "v": 1}, **LIST),
    "list_as_any_whole_list": subset(match={"stage": "prod", "v": [1, 3]}, **LIST),
    "list_as_any_default": subset(
        fallback_policy="DEFAULT_SUBSET", default_subset={"v": 3}, **LIST
    ),
    "list_as_default": subset(fallback_policy="DEFAULT_SUBSET", default_subset={"v": 3}),
    "selector_keys": subset(match={"stage": "prod", "v": 9}, subset_selectors=PER_SELECTOR, **ANY),
    "selector_keys_to_default": subset(
        match={"stage": "qa", "v": 9}, subset_selectors=PER_SELECTOR, **DEFAULT
    ),
    "selector_default": subset(
        match={"stage": "qa"}, subset_selectors=PER_SELECTOR, default_subset={"stage": "dev"}
    ),
    "selector_after_longer": subset(
        match={"stage": "qa"}, subset_selectors=PER_SELECTOR[::-1], default_subset={"stage": "dev"}
    ),
    "selector_any": subset(match={"v": 9}, subset_selectors=PER_SELECTOR),
    "selector_none": subset(match={"v": 9, "zone": 1}, subset_selectors=PER_SELECTOR, **ANY),
    "selector_keys_to_any": subset(match={"a": 1, "b": 2}, subset_selectors=CHAIN),
    "fallback_list": subset(match=TRIES, subset_selectors=[{"keys": ["stage"]}], **FALL),
    "fallback_list_over": subset(match={"stage": "prod", **TRIES}, **FALL),
    "fallback_list_two_keys": subset(match={"stage": "prod", **TRIES}, **FALL, **ANY),
    "fallback_list_ignored": subset(match={"stage": "prod", **TRIES}, **ANY),
    "fallback_list_empty": subset(match={"stage": "prod", "fallback_list": []}, **FALL),
    "fallback_list_no_list": subset(match={"stage": "prod", "fallback_list": "qa"}, **FALL),
    "fallback_list_of_nobody": subset(
        match={"fallback_list": [{"stage": "qa"}]}, **FALL, **DEFAULT
    ),
    "single": subset(match={"v": 2}, **ONE),
    "single_sick": subset(
        [host("a", {"v": 2}, **BAD), host("b", {"v": 2}), host("c", {"v": 1})],
        match={"v": 2},
        **ONE,
    ),
    "single_priorities": subset(
        {"priority": 1, "lb_endpoints": [host("a", {"v": 2})]},
        {"lb_endpoints": [host("b", {"v": 2})]},
        match={"v": 2},
        **ONE,
    ),
    "priorities": subset(
        [host("a", {"stage": "dev"}), host("b", {"stage": "prod"}, **BAD)],
        {
            "priority": 1,
            "lb_endpoints": [host("c", {"stage": "prod"}), host("d", {"stage": "prod"})],
        },
        match={"stage": "prod"},
    ),
    "maglev": subset(match={"stage": "prod"}, lb_policy="MAGLEV"),
    "locality_weights": subset(*ZONED, match={"s": 1}, **BY_S),
    "locality_weight_aware": subset(*ZONED, match={"s": 1}, locality_weight_aware=True, **BY_S),
    "locality_weight_scaled": subset(
        *ZONED, match={"s": 1}, locality_weight_aware=True, scale_locality_weight=True, **BY_S
    ),
    "locality_weight_scaled_half": subset(
        *ZONED, match={"s": 2}, locality_weight_aware=True, scale_locality_weight=True, **BY_S
    ),
    "typed": {
        **cluster(
            PROD + MORE,
            load_balancing_policy=typed(
                "subset.v3.Subset",
                subset_selectors=SELECTORS,
                **ANY,
                subset_lb_policy=typed("ring_hash.v3.RingHash", hash_function="MURMUR_HASH_2"),
            ),
        ),
        "match": {"stage": "prod"},
    },
    "override_host": cluster(
        hosts("abc"),
        load_balancing_policy=typed(
            "override_host.v3.OverrideHost",
            override_host_sources=[
                {"header": "x-host"},
                {"metadata": {"key": "envoy.lb", "path": [{"key": "host"}]}},
            ],
            fallback_policy=typed("ring_hash.v3.RingHash"),
        ),
    ),
}

SCENARIOS: dict[str, Fields] = {
    **CLUSTERS,
    **{f"subset_{name}": fields for name, fields in SUBSETS.items()},
}

#: Clusters whose clients stay connected, so that the bound on load has something to count.
HELD = tuple(name for name in SCENARIOS if "bound" in name or name == "maglev_typed")

STATS = r"^cluster\..*(ring_hash_lb|maglev_lb|lb_subsets|lb_healthy_panic|cx_none_healthy)"
