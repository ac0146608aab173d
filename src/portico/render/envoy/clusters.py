"""Services as clusters: their instances, and how these are chosen, checked, ejected and spoken to."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from math import ceil
from typing import Final

from portico.config import ConsistentHashSettings, Upstream
from portico.config.instances import InstanceSettings
from portico.config.problems import KeyPath
from portico.config.services import preserved
from portico.core.caches import remembered
from portico.render.envoy.names import Names, Section, duration, typed
from portico.render.envoy.text import Shared

SYSTEM_AUTHORITIES: Final = "/etc/ssl/certs/ca-certificates.crt"
"""Where most systems have the certificates of the authorities that they trust; Envoy does not look for them."""
_UNBOUNDED: Final = 1_000_000
_POLICIES: Final = "envoy.extensions.load_balancing_policies."
_METHODS: Final = {
    "round_robin": ("round_robin", "RoundRobin"),
    "power_of_two": ("least_request", "LeastRequest"),
    "least_connections": ("least_request", "LeastRequest"),
    "random": ("random", "Random"),
}


def cluster_of(names: Names, service: str, version: str | None, upstream: Upstream) -> str:
    """The name of the cluster with a service's instances, which is written once."""
    own = None if upstream.shared else version
    name, is_new = names.once(("cluster", service, own), "_".join(filter(None, (service, own))))
    if is_new:
        names.clusters[name] = _Cluster(names, service, upstream).section(name)
        names.notes[name] = f"service {service}" + (f", version {own}" if own else "")
    return name


def other_cluster(names: Names, url: str, note: str) -> str:
    """The name of a cluster for an address that is no service's: who is asked for keys, or who may come in."""
    instance = InstanceSettings(url="/".join(url.split("/", 3)[:3]))
    name, is_new = names.once(("other", instance.url), instance.host)
    if is_new:
        found = _base(name, [instance])
        if instance.scheme == "https":
            found["transport_socket"] = _tls_socket(instance.host, SYSTEM_AUTHORITIES)
        found["load_assignment"] = {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address_of(instance)}}]}],
        }
        names.clusters[name] = found
        names.notes[name] = note
    return name


def address_of(instance: InstanceSettings) -> Section:
    """Where an instance is."""
    if instance.socket:
        return {"pipe": {"path": instance.socket}}
    return {"socket_address": {"address": instance.host, "port_value": instance.port}}


def _base(name: str, instances: list[InstanceSettings]) -> Section:
    is_named = any(not each.socket and not _is_address(each.host) for each in instances)
    found: Section = {"name": name, "type": "STRICT_DNS" if is_named else "STATIC"}
    if is_named:
        found["dns_lookup_family"] = "ALL"
    return found


@remembered(4096)
def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


class _Cluster:
    def __init__(self, names: Names, service: str, upstream: Upstream) -> None:
        self._names = names
        self._upstream = upstream
        self._at: KeyPath = ("services", service)

    def section(self, name: str) -> Section:
        upstream = self._upstream
        found = _base(name, list(upstream.instances))
        if found["type"] == "STRICT_DNS":
            found |= {"dns_refresh_rate": duration(max(upstream.dns_refresh, 0.001))}
        found["connect_timeout"] = duration(upstream.timeouts.connect)
        found |= self._treatment()
        schemes = {each.scheme.replace("unix", "http") for each in upstream.instances}
        if len(schemes) > 1:
            why = "Envoy speaks either http or https to all instances here; this is https"
            self._names.losses.add((*self._at, "instances"), why)
        if "https" in schemes:
            found["transport_socket"] = self._tls()
        found["load_assignment"] = {
            "cluster_name": name,
            # As long as one instance can, backups get nothing: Envoy would begin with them below 72 %.
            **({"policy": {"overprovisioning_factor": 100_000}} if self._has_backups else {}),
            "endpoints": [*self._endpoints()],
        }
        return found

    def _treatment(self) -> Section:
        """What many clusters have in common."""
        upstream = self._upstream
        found: Section = {"load_balancing_policy": {"policies": [{"typed_extension_config": self._balancing()}]}}
        found["common_lb_config"] = {"healthy_panic_threshold": {"value": 0}}
        found["circuit_breakers"] = {"thresholds": [self._limits()]}
        if (ejection := self._ejection()) is not None:
            found["outlier_detection"] = ejection
        if upstream.health is not None:
            found["health_checks"] = [self._check()]
        found["typed_extension_protocol_options"] = {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                {
                    "common_http_protocol_options": {"idle_timeout": duration(upstream.idle_connection_timeout)},
                    "explicit_http_config": {"http_protocol_options": {}},
                },
            )
        }
        return {key: self._shared(part) if isinstance(part, dict) else part for key, part in found.items()}

    def _shared(self, part: Section) -> Section:
        known: Section = self._names.parts.setdefault(repr(part), Shared(part))
        return known

    @property
    def _has_backups(self) -> bool:
        backups = [each.backup for each in self._upstream.instances if each.weight]
        return any(backups) and not all(backups)

    def _endpoints(self) -> Iterator[Section]:
        for priority, is_backup in enumerate((False, True) if self._has_backups else (None,)):
            found = [each for each in self._upstream.instances if is_backup is None or each.backup is is_backup]
            own: Section = {"priority": priority} if priority else {}
            yield {**own, "lb_endpoints": [self._endpoint(each) for each in found if each.weight]}

    def _endpoint(self, instance: InstanceSettings) -> Section:
        endpoint: Section = {"address": address_of(instance)}
        if not preserved(self._upstream.preserve_host, instance):
            endpoint["hostname"] = instance.authority
        if self._upstream.health is not None and self._upstream.health.path is not None:
            endpoint["health_check_config"] = {"hostname": instance.authority}
        weight = {"load_balancing_weight": instance.weight} if instance.weight > 1 else {}
        return {"endpoint": endpoint, **weight}

    def _balancing(self) -> Section:
        chosen = self._upstream.load_balancing
        if isinstance(chosen, ConsistentHashSettings):
            return _policy("ring_hash", "RingHash", {})
        kind, message = _METHODS[str(chosen)]
        settings: Section = {}
        if chosen == "least_connections":
            settings["selection_method"] = "FULL_SCAN"
        if (slow := self._upstream.slow_start) and kind != "random":
            window = {"slow_start_window": duration(max(slow, 1.0)), "min_weight_percent": {"value": 10}}
            settings["slow_start_config"] = window
        return _policy(kind, message, settings)

    def _limits(self) -> Section:
        upstream = self._upstream
        if upstream.max_requests is not None and not isinstance(upstream.max_requests, int):
            why = "Envoy's limit is a number here: there is none"
            self._names.losses.add((*self._at, "max_requests"), why)
        requests = upstream.max_requests if isinstance(upstream.max_requests, int) else _UNBOUNDED
        # The least that is tried again is what a budget of nothing would forbid.
        budget = {"budget_percent": {"value": round(100 * upstream.retry.budget, 3)}, "min_retry_concurrency": 3}
        return {
            "max_connections": upstream.max_connections or _UNBOUNDED,
            "max_pending_requests": _UNBOUNDED,
            "max_requests": requests,
            "retry_budget": budget,
        }

    def _ejection(self) -> Section | None:
        """Envoy ejects by failures in a row; what is said of rates is the share of failures in an interval."""
        breaker, passive = self._upstream.circuit_breaker, self._upstream.passive_health
        rules = breaker or passive
        if rules is None:
            return None
        share = 1.0 if breaker is not None or passive is None else passive.max_ejected
        has_rate = rules.error_rate is not None
        return {
            "consecutive_5xx": rules.failures,
            "interval": duration(rules.window if has_rate else 1.0),
            "base_ejection_time": duration(rules.open_for),
            "max_ejection_time": duration(max(rules.open_for_most, rules.open_for)),
            "max_ejection_percent": round(100 * share),
            "always_eject_one_host": False,
            "enforcing_success_rate": 0,
            **(
                {
                    "failure_percentage_threshold": ceil(100 * (rules.error_rate or 0)),
                    "failure_percentage_request_volume": rules.volume,
                    "failure_percentage_minimum_hosts": 1,
                    "enforcing_failure_percentage": 100,
                }
                if has_rate
                else {}
            ),
        }

    def _check(self) -> Section:
        health = self._upstream.health
        assert health is not None
        found: Section = {
            "timeout": duration(health.timeout),
            "interval": duration(health.interval),
            "no_traffic_interval": duration(health.interval),
            "interval_jitter_percent": 10,
            "unhealthy_interval": duration(min(health.interval, 1.0)),
            "unhealthy_threshold": health.unhealthy_after,
            "healthy_threshold": health.healthy_after,
        }
        if health.path is None:
            return {**found, "tcp_health_check": {}}
        statuses = [{"start": low, "end": high + 1} for low, high in health.expect]
        return {**found, "http_health_check": {"path": health.path, "expected_statuses": statuses}}

    def _tls(self) -> Section:
        tls, first = self._upstream.tls, self._upstream.instances[0]
        own = {each.host for each in self._upstream.instances}
        if tls.server_name is None and len(own) > 1:
            why = "Envoy asks all instances for the name of the first one here: write tls.server_name"
            self._names.losses.add((*self._at, "instances"), why)
        authorities = str(tls.ca or SYSTEM_AUTHORITIES) if tls.verify else None
        pair = (str(tls.certificate), str(tls.key)) if tls.certificate is not None else None
        return _tls_socket(tls.server_name or first.host, authorities, pair)


def _policy(kind: str, message: str, settings: Section) -> Section:
    name = f"envoy.load_balancing_policies.{kind}"
    return {"name": name, "typed_config": typed(f"{_POLICIES}{kind}.v3.{message}", settings)}


def _tls_socket(name: str, authorities: str | None, pair: tuple[str, str] | None = None) -> Section:
    """TLS with an instance; without `authorities` its certificate is not verified."""
    common: Section = {"alpn_protocols": ["http/1.1"]}
    if pair is not None:
        certificate, key = pair
        common["tls_certificates"] = [
            {"certificate_chain": {"filename": certificate}, "private_key": {"filename": key}}
        ]
    is_address = _is_address(name)
    if authorities is not None:
        common["validation_context"] = {
            "trusted_ca": {"filename": authorities},
            "match_typed_subject_alt_names": [
                {"san_type": "IP_ADDRESS" if is_address else "DNS", "matcher": {"exact": name}}
            ],
        }
    context = {**({} if is_address else {"sni": name}), "common_tls_context": common}
    return {
        "name": "tls",
        "typed_config": typed("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", context),
    }
