from portico.config import Config, dump_config, forgetting_written, load_dumped
from portico.core.slices import at_once


def test_what_routes_were_written_as_is_forgotten_and_they_are_the_same() -> None:
    written = {
        "services": {"a": {"url": "http://h", "versions": {"v1": {}}}},
        "routes": [{"path": "/x", "service": "a", "headers": {"X-A": "1"}, "policies": {"rate_limit": {}}}],
    }
    config = load_dumped(dump_config(Config.model_validate(written)))
    routes, kinds = config.all_routes, config.route_sets()
    at_once(forgetting_written(config))
    assert (config.all_routes, config.route_sets()) == (routes, kinds)
    assert (config.routes, "routes" in config.written, "services" in config.written) == ((), False, True)
