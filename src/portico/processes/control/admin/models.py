"""What the admin API shows, as types: its OpenAPI document says so, and tests hold all answers against it.

Keys that are only there now and then have a default here.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Shown(BaseModel):
    """A document of the admin API."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class Page(Shown):
    """What has the generation of the configuration that it was answered by."""

    generation: int
    """How often this gateway has taken over a configuration; the first is 1."""


class Problem(Shown):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    """The reason phrase of the status."""
    status: int
    detail: str
    """What is wrong, in sentences, and what to do about it."""


# ---- services and workers


class OverrideModel(Shown):
    """What somebody has said about an instance: it holds until it is enabled again, also after a restart."""

    drained: bool
    """Whether it gets no new exchange."""
    weight: int | None
    """Its weight, if it is another one than is written."""
    at: float
    """When it was said last, in seconds since the epoch."""
    by: str
    """Who said so."""


class InstanceModel(Shown):
    """One address of a service."""

    url: str
    weight: int
    """As written or registered; `override` says otherwise."""
    status: Literal["healthy", "unhealthy", "unchecked"]
    """What its active check says. One whose every check has failed so far is unhealthy, although it gets requests until
    `unhealthy_after`."""
    source: str | None = None
    """`config`, or from where it was discovered."""
    backup: bool | None = None
    """Whether it is used only while no other can be."""
    error: str | None = None
    """What was wrong with its last check, or why no connection could be opened."""
    id: str | None = None
    """What it registered as."""
    version: str | None = None
    """The version that it declared."""
    expires_in: float | None = None
    """Seconds until its registration ends without a heartbeat; null for one that does not end."""
    lost: bool | None = None
    """Whether it would have ended, and is kept because all others would have, too."""
    override: OverrideModel | None = None
    """What somebody has said about it."""
    state: str | None = None
    """The worst of its states in the workers."""
    workers: dict[str, int] | None = None
    """How many workers have it in which state."""
    in_flight: int | None = None
    """Exchanges that are under way there, in all workers."""
    breaker: str | None = None
    """The worst state of its breakers."""
    next_try_in: float | None = None
    """Seconds until the first of its open breakers admits a request."""


class ServiceModel(Shown):
    """A service, or a version (`NAME@VERSION`) with instances of its own."""

    name: str
    status: Literal["healthy", "unhealthy"]
    """Whether an instance can be used."""
    instances: list[InstanceModel]
    warning: str | None = None
    """What is wrong with it, in words."""


class WorkerModel(Shown):
    """A worker that is connected."""

    name: str
    """It ends with the id of the process."""
    generation: int
    """The configuration that it serves by."""
    connections: int
    in_flight: int
    tunnels: int
    redis_up: bool | None = None
    """Whether Redis serves its limits, where they are in one."""


class ServicesPage(Page):
    """Services, their instances with their state, and the workers."""

    services: list[ServiceModel]
    workers: list[WorkerModel]


class ServiceDetail(ServiceModel):
    """A service with what leads to it."""

    routes: list[str]
    """The names of the routes that lead to it."""
    where: str | None
    """File and line of the service; null where they are not known, as after a restart with a file that has changed."""


class ServicePage(Page):
    """One service."""

    service: ServiceDetail


class Reloaded(Page):
    """The configuration that every worker uses now."""


class PluginModel(Shown):
    """A policy of one's own."""

    use: str
    scope: str
    """The level whose list names it."""


class IssuerModel(Shown):
    """An issuer of tokens whose keys are fetched."""

    issuer: str | None = None
    address: str
    keys: int
    age: float | None = None
    """Seconds since they were fetched."""
    problem: str | None = None


class ApiKeysState(Shown):
    """How many API keys there are, and whether other gateways are heard of."""

    keys: int
    shared: bool | None
    problem: str | None = None


class TokensState(Shown):
    """How many revocations are in force, and whether other gateways are heard of."""

    revoked: int
    shared: bool | None


class CertificateModel(Shown):
    """A certificate that is ordered from an authority."""

    names: list[str]
    directory: str
    state: Literal["missing", "valid", "expired"]
    ordering: bool
    next_try: str
    expires: str | None = None
    problem: str | None = None


class ListenerModel(Shown):
    """An address where clients are served."""

    name: str | None
    url: str


class DocumentModel(Shown):
    """The OpenAPI document of a service, or of a version of it."""

    service: str
    version: str | None
    path: str
    state: Literal["current", "last known", "missing"]
    age: float | None = None
    problem: str | None = None
    changed: float | None = None
    breaking: list[str] | None = None
    """What its last change broke."""


class StatusPage(Page):
    """The gateway itself."""

    version: str
    config: str | None
    """The path of the file; null where it runs without one."""
    refused: str | None
    """What was wrong with the file when it was last read."""
    redis: str | None
    """Its URL, without secrets."""
    plugins: list[PluginModel]
    issuers: list[IssuerModel]
    api_keys: ApiKeysState | None
    tokens: TokensState | None
    certificates: list[CertificateModel]
    listeners: list[ListenerModel]
    documents: list[DocumentModel]
    maintenance: list[str]
    overrides: int
    """How many instances are not as configured, because somebody has said so."""
    control_uptime: float
    """In seconds."""
    workers: list[WorkerModel]


class DocumentsPage(Shown):
    """The documents of services, and what became of them in the merged one."""

    documents: list[DocumentModel]
    left_out: list[str]
    apart: dict[str, Any]
    failed: dict[str, Any]


# ---- the registry


class RegistrationModel(Shown):
    """An instance that registered."""

    id: str
    url: str
    weight: int
    version: str | None
    metadata: dict[str, Any]
    openapi: str | None
    source: str
    expires_in: float | None
    lost: bool | None = None


class RegisteredService(Shown):
    """A service with the instances that registered."""

    name: str
    instances: list[RegistrationModel]


class RedisState(Shown):
    """A Redis, without its secrets, and whether it is reachable."""

    url: str
    up: bool | None


class RegistryPage(Shown):
    """Every accepted registration."""

    redis: RedisState | None
    services: list[RegisteredService]


class Registered(Shown):
    """A registration, and for how many seconds it lives."""

    name: str
    id: str
    expires_in: float


# ---- keys and tokens


class KeyModel(Shown):
    """An API key, without its text."""

    id: str
    key: str
    """Its beginning."""
    consumer: str
    scopes: list[str]
    note: str
    state: Literal["active", "expired", "revoked", "without its consumer"]
    created: int | None
    expires: int | None
    revoked: int | None
    last_used: int | None
    made_by: Literal["portico keys", "file"] = Field(alias="from")
    """Where it comes from."""


class KeysPage(Page):
    """All keys, also those that have ended."""

    shared: bool | None
    """Whether other gateways are heard of; null where there is no Redis that they share."""
    keys: list[KeyModel]


class Spread(Page):
    """Whether a change is everywhere."""

    shared: bool | None
    """Whether Redis has it for other gateways; null where there is none."""
    late: list[str]
    """The workers that have not confirmed it."""
    kept: bool
    """Whether it outlasts this gateway."""


class KeyChanged(Spread):
    """A key that was made or ended. `secret` is the text of a new one, in this answer alone."""

    key: KeyModel
    secret: str | None = None
    replaces: KeyModel | None = None
    """The old one of a key that was rotated."""


class Issued(Page):
    """A token."""

    access_token: str
    expires_in: int
    scope: str


class Revoked(Spread):
    """What holds no more."""

    known: bool
    """Whether the file has such a consumer."""
    jti: str | None = None
    consumer: str | None = None


class SigningKey(Shown):
    """A key that tokens are signed with, or will be or were."""

    kid: str
    algorithm: str
    signs_from: float


class Rotated(Page):
    """The keys that there are now."""

    keys: list[SigningKey]


# ---- the cache


class Outcomes(Shown):
    """How often the cache answered."""

    hits: int
    """Answered without a request of their own to the service."""
    misses: int
    outcomes: dict[str, int]


class ServiceCache(Outcomes):
    """The same of a service."""

    name: str


class WorkerCache(Outcomes):
    """The memory of a worker."""

    name: str
    entries: int
    bytes: int
    evictions: int


class StoreState(RedisState):
    """What is stored in Redis."""

    stored: dict[str, int] | None


class CacheStats(Outcomes, Page):
    """What is stored, and how often it was used."""

    entries: int
    bytes: int
    evictions: int
    services: list[ServiceCache]
    workers: list[WorkerCache]
    redis: StoreState | None


class CacheOfWorker(Shown):
    """What one worker has."""

    name: str
    notes: list[str]
    keys: list[dict[str, Any]]


class CacheShown(Page):
    """What is stored for a request, and what would become of it."""

    url: str
    workers: list[CacheOfWorker]
    late: list[str]


class PurgeModel(Shown):
    """What was purged."""

    kind: str
    value: str
    soft: bool


class PurgedPage(Page):
    """What came of a purge."""

    purged: list[PurgeModel]
    entries: int
    """How many went from memory."""
    workers: int
    late: int
    shared: bool | None


# ---- canaries


class CountedModel(Shown):
    """What one side's requests of a step came to."""

    requests: int
    errors: int
    p99: float | None
    """In seconds."""


class CanaryEntry(Shown):
    """What happened to a canary."""

    at: float
    who: str
    what: str
    step: int
    share: float
    why: str


class CanaryModel(Shown):
    """A canary: where it is, what it waits for, and what happened."""

    route: str
    service: str
    to: str
    phase: str
    share: float
    """Per cent."""
    step: int
    steps: list[float]
    every: float
    elapsed: float
    waits_for: str
    advice: str
    counted: dict[str, CountedModel]
    history: list[CanaryEntry]


class CanariesPage(Page):
    """All canaries."""

    shared: bool | None
    canaries: list[CanaryModel]


class CanaryPage(Page):
    """One canary, after a command."""

    canary: CanaryModel
