"""A configuration that another process dumped, loaded in steps, is the one that was dumped."""

from __future__ import annotations

from config.conftest import Load
from portico.config import dump_config, load_dumped, loading
from portico.core.slices import at_once

TEXT = """
gateway: {limits: {body_size: 1MiB}}
services:
  a: {url: http://h, versions: {v1: {}, v2: {url: http://i}}, policies: {rate_limit: {burst: 3}}}
  b: {url: http://j, default_routes: false}
routes:
  - {service: b, path: /b, hosts: [x.example], policies: {auth: {jwt: {}}}}
  - {service: a, version: v2, path: /w}
policies: {cors: {}}
consumers: [{name: alice}]
"""


def test_it_is_the_same(load: Load) -> None:
    config = load(TEXT, {"SECRET_KEY": "k" * 32})
    dumped = dump_config(config)
    there = load_dumped(dumped)
    assert there.all_routes == config.all_routes
    assert there.own_policies == config.own_policies
    assert there.token_settings == config.token_settings
    assert (there.gateway, there.services, there.consumers) == (config.gateway, config.services, config.consumers)
    assert dump_config(there) == dumped
    assert sum(1 for _ in loading(dumped)) >= len(config.all_routes)
    assert at_once(loading(dumped)).routes == config.routes
