"""The files under `deploy/kubernetes`: Kubernetes takes them, and what they name, mount, select and probe is there."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from deploy.containers import step, variables
from portico import __version__
from portico.config import Config, ConfigError, load_text
from support.manifests import KUBERNETES, OVERLAYS, Cluster, Document, collected, containers, port_names, template

NOT_OF_KUBERNETES = {("monitoring.coreos.com/v1", "ServiceMonitor")}
"""Of the Prometheus operator: its rules are below."""
_END = 5
"""Seconds that the end takes beside the drain, as docs/configuration.md says."""


@pytest.fixture(scope="module", params=OVERLAYS)
def cluster(request: pytest.FixtureRequest) -> Cluster:
    return Cluster([*collected(KUBERNETES / "overlays" / request.param)])


def configuration(cluster: Cluster, tmp_path: Path, secrets: Mapping[str, str] | None = None) -> Config:
    """That of the pods, with the secrets somewhere else, and others unless they are given."""
    text: str = cluster.one("ConfigMap")["data"]["portico.yaml"]
    others = dict.fromkeys(cluster.one("Secret")["data"], "a key for tests of thirty-two bytes and more")
    for key, secret in (others if secrets is None else secrets).items():
        (tmp_path / key).write_text(secret)
        text = text.replace(f"/run/secrets/portico/{key}", str(tmp_path / key))
    environ = {each["name"]: each["value"] for each in gateway(cluster)["env"]}
    return load_text(text, str(tmp_path / "portico.yaml"), environ)


def gateway(cluster: Cluster) -> Document:
    (found,) = containers(cluster.one("Deployment"))
    return found


def validated(document: Document) -> bool:
    """Whether its kind is known; raises where it is and the document is wrong."""
    import kubernetes_validate  # type: ignore[import-untyped]  # it takes a second, which every process would pay

    try:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    except kubernetes_validate.SchemaNotFoundError:
        return False
    return True


def test_kubernetes_knows_every_kind_and_every_key(cluster: Cluster) -> None:
    unknown = {(each["apiVersion"], each["kind"]) for each in cluster.objects if not validated(each)}
    assert unknown <= NOT_OF_KUBERNETES
    names = [(each["kind"], each["metadata"]["name"]) for each in cluster.objects]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kustomize_makes_of_them_what_the_tests_read(overlay: str) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    command = ["kubectl", "kustomize", str(KUBERNETES / "overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    rendered = [*yaml.safe_load_all(done.stdout)]
    own = [*collected(KUBERNETES / "overlays" / overlay)]
    assert {_identity(each) for each in rendered} == {_identity(each) for each in own}
    assert {(each["apiVersion"], each["kind"]) for each in rendered if not validated(each)} <= NOT_OF_KUBERNETES
    assert {each["metadata"].get("namespace") for each in rendered if each["kind"] != "Namespace"} == {"portico"}
    deployment = Cluster(rendered).one("Deployment")
    if overlay == "production":
        assert "replicas" not in deployment["spec"], "the HorizontalPodAutoscaler says how many"
        assert Cluster(rendered).one("Service")["spec"]["type"] == "LoadBalancer"


def _identity(document: Document) -> tuple[str, str, str]:
    return document["apiVersion"], document["kind"], document["metadata"]["name"]


def test_the_deployment_is_the_seeds_and_more() -> None:
    cluster = Cluster([*collected(KUBERNETES / "overlays" / "production")])
    deployment, service = cluster.one("Deployment"), cluster.one("Service")
    assert deployment["spec"]["replicas"] == 3
    assert deployment["spec"]["selector"] == {"matchLabels": {"app": "api-gateway"}}
    assert {"name": "REDIS_URL", "value": "redis://redis-service:6379"} in gateway(cluster)["env"]
    assert service["spec"]["type"] == "LoadBalancer"
    assert service["spec"]["ports"] == [{"name": "http", "port": 8000, "targetPort": "http"}]
    assert template(deployment)["spec"]["enableServiceLinks"] is False
    for kind in ("HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy", "ServiceMonitor", "Secret", "Role"):
        assert cluster.all(kind), kind


def test_what_pods_mount_is_there(cluster: Cluster) -> None:
    for workload in cluster.workloads:
        spec = template(workload)["spec"]
        claims = [each["metadata"]["name"] for each in workload["spec"].get("volumeClaimTemplates", ())]
        volumes = {each["name"]: each for each in spec.get("volumes", ())}
        mounts = [mount for each in containers(workload) for mount in each.get("volumeMounts", ())]
        assert {mount["name"] for mount in mounts} == {*volumes, *claims}
        assert not any("subPath" in mount for mount in mounts), "what is mounted so never changes"
        for volume in volumes.values():
            if "configMap" in volume:
                assert cluster.has("ConfigMap", volume["configMap"]["name"])
            if "secret" in volume:
                assert cluster.has("Secret", volume["secret"]["secretName"])
        if "serviceAccountName" in spec:
            assert cluster.has("ServiceAccount", spec["serviceAccountName"])
        else:
            assert spec["automountServiceAccountToken"] is False
        if workload["kind"] == "StatefulSet":
            assert cluster.has("Service", workload["spec"]["serviceName"])


def test_what_is_selected_is_there(cluster: Cluster) -> None:
    for workload in cluster.workloads:
        assert cluster.pods_of(workload["spec"]["selector"]["matchLabels"]) == [workload]
        for spread in template(workload)["spec"].get("topologySpreadConstraints", ()):
            assert cluster.pods_of(spread["labelSelector"]["matchLabels"]) == [workload]
    for service in cluster.all("Service"):
        (workload,) = cluster.pods_of(service["spec"]["selector"])
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= port_names(workload).keys()
    for each in cluster.all("PodDisruptionBudget"):
        assert cluster.pods_of(each["spec"]["selector"]["matchLabels"]) == [cluster.one("Deployment")]
    for each in cluster.all("NetworkPolicy"):
        (workload,) = cluster.pods_of(each["spec"]["podSelector"]["matchLabels"])
        ports = {port["port"] for rule in each["spec"]["ingress"] for port in rule["ports"]}
        assert ports == port_names(workload).keys()
        for rule in each["spec"]["ingress"]:
            assert all(cluster.pods_of(source["podSelector"]["matchLabels"]) for source in rule.get("from", ()))
    for each in cluster.all("HorizontalPodAutoscaler"):
        target = each["spec"]["scaleTargetRef"]
        scaled = cluster.one(target["kind"], target["name"])
        assert target["apiVersion"] == scaled["apiVersion"]
        assert all("cpu" in container["resources"]["requests"] for container in containers(scaled)), "a share of what?"
        assert each["spec"]["minReplicas"] == scaled["spec"]["replicas"]
    for each in cluster.all("RoleBinding"):
        assert cluster.has(each["roleRef"]["kind"], each["roleRef"]["name"])
        assert all(cluster.has(subject["kind"], subject["name"]) for subject in each["subjects"])


def test_what_prometheus_is_to_scrape_is_there() -> None:
    cluster = Cluster([*collected(KUBERNETES / "overlays" / "production")])
    (monitor,) = cluster.all("ServiceMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    (service,) = (each for each in cluster.all("Service") if wanted <= each["metadata"].get("labels", {}).items())
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert endpoint["path"] == "/metrics"
    assert endpoint.keys() == {"port", "path", "interval", "relabelings"}


def test_its_labels_are_those_that_alerts_ask_for() -> None:
    (monitor,) = Cluster([*collected(KUBERNETES / "overlays" / "production")]).all("ServiceMonitor")
    labels = {"job": "api-gateway", "service": "api-gateway"}  # as the Prometheus operator gives them
    for each in monitor["spec"]["endpoints"][0]["relabelings"]:
        if each.get("action") == "labeldrop":
            labels = {name: value for name, value in labels.items() if not re.fullmatch(each["regex"], name)}
        else:
            labels[each["targetLabel"]] = each["replacement"]
    rules = (KUBERNETES.parent / "prometheus" / "rules.yml").read_text(encoding="utf-8")
    (job,) = {*re.findall(r'job="(\w+)"', rules)}
    assert labels == {"job": job}


def test_every_container_has_no_more_rights_than_it_needs(cluster: Cluster) -> None:
    """The restricted level of Kubernetes' Pod Security Standards, and a root that cannot be written to."""
    for workload in cluster.workloads:
        pod = template(workload)["spec"]["securityContext"]
        assert pod["runAsNonRoot"] is True
        assert pod["runAsUser"] > 0
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
        for each in containers(workload):
            assert each["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert each["resources"]["limits"].keys() == {"memory"}
            assert each["resources"]["requests"].keys() == {"cpu", "memory"}
            assert ":" in each["image"], "a tag, or each node may have another"


def test_probes_and_ports_are_those_of_the_configuration(cluster: Cluster, tmp_path: Path) -> None:
    config = configuration(cluster, tmp_path)
    container = gateway(cluster)
    ports = port_names(cluster.one("Deployment"))
    assert ports == {"http": config.gateway.port}
    paths = {kind: container[kind]["httpGet"]["path"] for kind in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {"startupProbe": "/readyz", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    for workload in cluster.workloads:
        for each in containers(workload):
            probes = [value for key, value in each.items() if key.endswith("Probe")]
            named = {probe[way]["port"] for probe in probes for way in ("httpGet", "tcpSocket") if way in probe}
            assert named <= port_names(workload).keys()
    assert config.gateway.admin_is_local, "kubectl exec and port-forward reach it there"


def test_the_command_names_what_is_mounted(cluster: Cluster) -> None:
    container = gateway(cluster)
    volumes = {each["name"]: each for each in template(cluster.one("Deployment"))["spec"]["volumes"]}
    mounted = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
    file = Path(container["args"][container["args"].index("--config") + 1])
    config_map = mounted[str(file.parent)]["configMap"]["name"]
    text = cluster.one("ConfigMap", config_map)["data"][file.name]
    secret = cluster.one("Secret", mounted["/run/secrets/portico"]["secret"]["secretName"])
    named = set(re.findall(r"\$\{file:/run/secrets/portico/([^}]+)\}", text))
    assert named == secret["data"].keys()
    state = {each["name"]: each["value"] for each in container["env"]}["XDG_STATE_HOME"]
    assert "emptyDir" in mounted[f"{state}/portico"]


def test_a_pod_has_the_time_that_its_drain_takes(cluster: Cluster, tmp_path: Path) -> None:
    limits = configuration(cluster, tmp_path).gateway.limits
    _, seconds = gateway(cluster)["lifecycle"]["preStop"]["exec"]["command"]
    whole = float(seconds) + limits.drain_delay + limits.drain_timeout + _END
    assert template(cluster.one("Deployment"))["spec"]["terminationGracePeriodSeconds"] >= whole
    assert cluster.one("Deployment")["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_services_that_are_named_are_there(tmp_path: Path) -> None:
    """With the sample services: each that the configuration discovers, and the Redis; the account may look for them."""
    cluster = Cluster([*collected(KUBERNETES / "overlays" / "single")])
    config = configuration(cluster, tmp_path)
    assert config.directories == {"kubernetes"}
    for name in config.services:
        settings = config.discovery(name)
        assert settings is not None
        assert settings.kubernetes is not None
        (port,) = cluster.one("Service", settings.kubernetes.service or name)["spec"]["ports"]
        assert settings.kubernetes.port in (None, port["name"])
    assert config.gateway.redis_url is not None
    redis = cluster.one("Service", "redis-service")["spec"]["ports"][0]["port"]
    assert config.gateway.redis_url.get_secret_value() == f"redis://redis-service:{redis}"
    assert cluster.one("Role")["rules"] == [
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]}
    ]
    assert template(cluster.one("Deployment"))["spec"]["automountServiceAccountToken"] is True


def test_the_image_has_the_user_the_command_and_the_paths(cluster: Cluster) -> None:
    container = gateway(cluster)
    context = template(cluster.one("Deployment"))["spec"]["securityContext"]
    assert step("USER").text == f"{context['runAsUser']}:{context['runAsGroup']}"
    assert step("ENTRYPOINT").words == container["command"]
    file = container["args"][container["args"].index("--config") + 1]
    assert variables()["PORTICO_CONFIG"] == file, "kubectl exec finds it without an option"
    state = next(each["value"] for each in container["env"] if each["name"] == "XDG_STATE_HOME")
    assert variables()["XDG_STATE_HOME"] == state
    assert f"{state}/portico" in step("VOLUME").words
    images = {each["image"] for workload in cluster.workloads for each in containers(workload)}
    assert {each for each in images if "redis" not in each} == {f"portico:{__version__}"}


def test_no_gateway_starts_with_the_key_that_is_in_the_repository(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"auth\.jwt\.secret: HS256 needs a secret .* openssl rand"):
        configuration(cluster, tmp_path, cluster.one("Secret")["data"])
