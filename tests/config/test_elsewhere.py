from __future__ import annotations

import pytest

from config.conftest import Report
from portico.config.acme import AcmeSettings
from portico.config.canary import CanarySettings
from portico.config.directories import DnsRecords, KubernetesService
from portico.config.discovery import DiscoverSettings
from portico.config.elsewhere import known_elsewhere
from portico.config.endpoints import EndpointSettings
from portico.config.gateway import GatewaySettings
from portico.config.listen import ListenerSettings
from portico.config.mirror import MirrorSettings
from portico.config.routes import RouteSettings
from portico.config.services import ServiceSettings
from portico.config.tls import TlsSettings
from portico.policies import POLICY_SETTINGS
from portico.policies.validate import ValidateSettings

SERVICE, ROUTE, LISTENER = ServiceSettings.model_fields, RouteSettings.model_fields, ListenerSettings.model_fields
GATEWAY, TLS, ACME = GatewaySettings.model_fields, TlsSettings.model_fields, AcmeSettings.model_fields
ENDPOINTS, DISCOVER = EndpointSettings.model_fields, DiscoverSettings.model_fields
DNS, KUBERNETES = DnsRecords.model_fields, KubernetesService.model_fields
CANARY, MIRROR = CanarySettings.model_fields, MirrorSettings.model_fields


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("servers", SERVICE, "instances"),
        ("host", SERVICE, "url"),
        ("host", ROUTE, None),
        ("split_clients", ROUTE, "split"),
        ("strip_path", ROUTE, "rewrite"),
        ("stripPrefix", ROUTE, "rewrite"),
        ("middlewares", ROUTE, "policies"),
        ("proxy_read_timeout", SERVICE, "timeout"),
        ("ssl", LISTENER, "tls"),
        ("interval", CANARY, "every"),
        ("service", CANARY, "to"),
        ("to", MIRROR, "service"),
        ("percent", MIRROR, "share"),
        ("gzip", POLICY_SETTINGS, "compress"),
        ("IPAllowList", POLICY_SETTINGS, "ip_filter"),
        ("request-transformer", POLICY_SETTINGS, "transform"),
        ("oas-validation", POLICY_SETTINGS, "validate"),
        ("swagger", SERVICE, "openapi"),
        ("openapi_url", SERVICE, "openapi"),
        ("docs", GATEWAY, "endpoints"),
        ("openapi", ENDPOINTS, "docs"),
        ("certResolver", TLS, "acme"),
        ("acme", GATEWAY, "tls"),
        ("caServer", ACME, "directory"),
        ("agree_tos", ACME, "terms_agreed"),
        ("hostname", DNS, "name"),
        ("hostname", ROUTE, "hosts"),
        ("resolver", DNS, "server"),
        ("targetPort", KUBERNETES, "port"),
        ("consul", DISCOVER, "dns"),
        ("k8s", DISCOVER, "kubernetes"),
        ("max_body_size", ValidateSettings.model_fields, "max_body"),
        ("client_max_body_size", SERVICE, "body_size"),
        ("nonsense", POLICY_SETTINGS, None),
    ],
)
def test_a_name_of_another_gateway_leads_to_the_key_here(word: str, known: list[str], meant: str | None) -> None:
    assert known_elsewhere(word, known) == meant


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "routes: [{path: /x, compress: true}]",
            "1:21: routes[0].compress: unknown key: it is a policy, write policies: {compress: …}",
        ),
        (
            "services: [{name: a, url: http://h}]",
            "1:11: services: expected keys and values: write services: {NAME: {url: http://host:port}}",
        ),
        (
            "routes: {shop: {rule: PathPrefix(`/x`)}}",
            "1:9: routes: expected a list: write routes: [{path: /shop, service: shop}]",
        ),
    ],
)
def test_what_stands_in_another_place_or_form(report: Report, text: str, line: str) -> None:
    assert f"portico.yaml:{line}" in report(text)
