"""Configuration: one YAML file and the environment, validated as a whole and immutable afterwards."""

from portico.config.acme import AcmeSettings
from portico.config.answers import RedirectSettings, RespondSettings
from portico.config.balancing import ConsistentHashSettings, CookieKey, HeaderKey
from portico.config.breakers import CircuitBreakerSettings, PassiveHealthSettings
from portico.config.consumers import ConsumerLimit, ConsumerSettings
from portico.config.directories import ApiServerSettings, DnsRecords, KubernetesService
from portico.config.discovery import DiscoverSettings, refusal
from portico.config.failover import FailoverSettings
from portico.config.files import expired_certificates, file_problems, named_files, presented_certificates
from portico.config.found import DiscoverySettings
from portico.config.gateway import CacheBounds, GatewaySettings, LimitSettings, LogSettings
from portico.config.gateway_section import load_gateway
from portico.config.include import included_files
from portico.config.instances import InstanceSettings, NetworkUrl, network_url
from portico.config.levels import Level, Merged, Policies, merge_policies
from portico.config.listen import ListenerSettings
from portico.config.load import load_config, load_text
from portico.config.mirror import MirrorSettings
from portico.config.model import Config
from portico.config.notes import hosts_in_words, notes_for
from portico.config.overload import MaxRequests
from portico.config.passing import (
    dump_config,
    forgetting_written,
    gateway_of,
    load_dumped,
    loading,
    with_code,
    with_redis,
    with_source,
)
from portico.config.plugins import check_plugins, names_plugins, plugin_files
from portico.config.policy_documents import documents_of_files, documents_wanted
from portico.config.problems import ConfigError, Problem
from portico.config.resolve import ResolvedRoute
from portico.config.retries import HedgeSettings, RetrySettings
from portico.config.rewrites import KEEP
from portico.config.routes import RouteSettings
from portico.config.schema import json_schema
from portico.config.services import (
    HealthCheckSettings,
    ServiceSettings,
    Timeouts,
    Upstream,
    UpstreamTlsSettings,
    VersionSettings,
)
from portico.config.source import Source
from portico.config.sticky import StickySettings
from portico.config.tls import CertificateSettings, ClientCertificateSettings, TlsSettings, ordered_file
from portico.config.warnings import RULES, warnings_for

__all__ = [
    "KEEP",
    "RULES",
    "AcmeSettings",
    "ApiServerSettings",
    "CacheBounds",
    "CertificateSettings",
    "CircuitBreakerSettings",
    "ClientCertificateSettings",
    "Config",
    "ConfigError",
    "ConsistentHashSettings",
    "ConsumerLimit",
    "ConsumerSettings",
    "CookieKey",
    "DiscoverSettings",
    "DiscoverySettings",
    "DnsRecords",
    "FailoverSettings",
    "GatewaySettings",
    "HeaderKey",
    "HealthCheckSettings",
    "HedgeSettings",
    "InstanceSettings",
    "KubernetesService",
    "Level",
    "LimitSettings",
    "ListenerSettings",
    "LogSettings",
    "MaxRequests",
    "Merged",
    "MirrorSettings",
    "NetworkUrl",
    "PassiveHealthSettings",
    "Policies",
    "Problem",
    "RedirectSettings",
    "ResolvedRoute",
    "RespondSettings",
    "RetrySettings",
    "RouteSettings",
    "ServiceSettings",
    "Source",
    "StickySettings",
    "Timeouts",
    "TlsSettings",
    "Upstream",
    "UpstreamTlsSettings",
    "VersionSettings",
    "check_plugins",
    "documents_of_files",
    "documents_wanted",
    "dump_config",
    "expired_certificates",
    "file_problems",
    "forgetting_written",
    "gateway_of",
    "hosts_in_words",
    "included_files",
    "json_schema",
    "load_config",
    "load_dumped",
    "load_gateway",
    "load_text",
    "loading",
    "merge_policies",
    "named_files",
    "names_plugins",
    "network_url",
    "notes_for",
    "ordered_file",
    "plugin_files",
    "presented_certificates",
    "refusal",
    "warnings_for",
    "with_code",
    "with_redis",
    "with_source",
]
