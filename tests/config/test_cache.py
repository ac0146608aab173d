"""The cache in the file: what is accepted at every level, what is refused, and how levels are merged."""

from __future__ import annotations

import pytest

from config.conftest import Load, Report
from portico.policies.cache import CacheSettings

LEVELS = {
    "gateway": "policies: {{cache: {0}}}\nservices: {{a: {{url: http://h}}}}",
    "service": "services: {{a: {{url: http://h, policies: {{cache: {0}}}}}}}",
    "version": "services: {{a: {{versions: {{v1: {{url: http://h, policies: {{cache: {0}}}}}}}}}}}",
    "route": "services: {{a: {{url: http://h}}}}\nroutes: [{{service: a, path: /x, policies: {{cache: {0}}}}}]",
}


def settings_of(load: Load, text: str) -> CacheSettings:
    """Those of the first route."""
    settings = load(text).all_routes[0].policies["cache"][0]
    assert isinstance(settings, CacheSettings)
    return settings


@pytest.mark.parametrize("level", LEVELS)
def test_it_is_turned_on_by_one_word_at_every_level(load: Load, level: str) -> None:
    assert settings_of(load, LEVELS[level].format("true")) == CacheSettings()


def test_what_is_stored_without_more() -> None:
    settings = CacheSettings()
    assert (settings.ttl, settings.statuses, settings.store, settings.purge) == (None, None, "memory", False)
    assert settings.methods == ["GET", "HEAD", "QUERY"]
    assert (settings.key.query, settings.key.headers, settings.key.cookies) == ("all", [], [])
    assert settings.key.consumer == "auto"
    assert settings.targets == ["CDN-Cache-Control"]


def test_levels_are_merged_key_by_key(load: Load) -> None:
    settings = settings_of(
        load,
        """
        policies: {cache: {ttl: 30, key: {query: [id], cookies: [lang]}}}
        services: {a: {url: http://h}}
        routes: [{service: a, path: /x, policies: {cache: {stale_if_error: 5m, key: {query: {all_but: ["utm_*"]}}}}}]
        """,
    )
    assert (settings.ttl, settings.stale_if_error, settings.key.cookies) == (30.0, 300.0, ["lang"])
    assert settings.key.query == CacheSettings.model_validate({"key": {"query": {"all_but": ["utm_*"]}}}).key.query


def test_a_route_turns_it_off(load: Load) -> None:
    text = """
        policies: {cache: {ttl: 30}}
        services: {a: {url: http://h}}
        routes: [{service: a, path: /x, policies: {cache: false}}]
        """
    assert "cache" not in load(text).all_routes[0].policies


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("30", "cache: expected keys and values, true or false: write {ttl: 30}"),
        ("", "write cache: {ttl: 30}, or cache: false to turn it off"),
        ("{tll: 30}", 'cache.tll: unknown key; did you mean "ttl"?'),
        ("{ttl: -1}", "cache.ttl: has to be 0 or more"),
        ("{methods: [POST]}", "cache.methods[0]: expected one of GET, HEAD, QUERY"),
        ("{methods: []}", "cache.methods: has to hold 1 or more"),
        ("{statuses: [206]}", "cache.statuses[0]: 206 is never stored: it holds a part of a response, or none"),
        ("{statuses: [99]}", "cache.statuses[0]: has to be 200 or more"),
        ("{max_object: 0}", "cache.max_object: has to be 1 or more"),
        ("{key: {query: al}}", 'cache.key.query: expected one of all, none; did you mean "all"?'),
        ("{key: {query: ['a=b']}}", "without its value; several are a list: [id, page]"),
        ("{key: {query: {all_but: ['*']}}}", '"utm_*"; none leaves out all'),
        ("{key: {query: {all_but: []}}}", "cache.key.query.all_but: has to hold 1 or more"),
        ("{key: {headers: [Cookie]}}", "who asks is told apart without it; name single cookies"),
        ("{key: {headers: [X-Forwarded-For]}}", "scheme, host and consumer are told apart without it"),
        ("{key: {cookies: ['a=b']}}", "without its value; several are a list: [lang, theme]"),
        ("{key: {consumer: alice}}", "cache.key.consumer: expected one of auto, off"),
        ("{targets: [X-Ttl]}", "meant for some caches alone, such as CDN-Cache-Control (RFC 9213)"),
        ("{targets: [Cache-Control]}", "meant for some caches alone, such as CDN-Cache-Control (RFC 9213)"),
        ("{store: disk}", "cache.store: expected one of memory, redis"),
        ("{store: redis}", "set REDIS_URL or write gateway.redis_url; without one, write memory"),
    ],
)
def test_what_is_refused(report: Report, level: str, written: str, message: str) -> None:
    lines = report(LEVELS[level].format(written))
    assert len(lines) == 1
    assert lines[0].endswith(message)


def test_redis_is_missed_once_for_each_level_that_wants_it(report: Report) -> None:
    lines = report(
        """
        policies: {cache: {store: redis}}
        services: {a: {url: http://h}, b: {url: http://h, policies: {cache: {store: memory}}}}
        routes: [{service: a, path: /x}, {service: b, path: /y, policies: {cache: {store: redis}}}]
        """
    )
    assert [line.split(": ")[1] for line in lines] == ["policies.cache.store", "routes[1].policies.cache.store"]


def test_what_all_caches_use_together(load: Load, report: Report) -> None:
    bounds = load("gateway: {cache: {memory: 64MiB, redis: 2GiB, redis_timeout: 5ms}}").gateway.cache
    assert (bounds.memory, bounds.redis, bounds.redis_timeout) == (64 << 20, 2 << 30, 0.005)
    assert load("gateway: {cache: }").gateway.cache == load("services: {}").gateway.cache
    assert report("gateway: {cache: {memory: 1KiB}}")[0].endswith("cache.memory: has to be 1MiB or more")
    assert report("gateway: {cache: {redis_timeout: 5}}")[0].endswith("cache.redis_timeout: has to be 1 or less")
