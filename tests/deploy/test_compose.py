"""The Compose file: everything that it names is there, and what is written twice is the same."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path

import pytest
import yaml

from deploy.containers import COMPOSE, ROOT, compose, seconds, services, variables
from portico import __version__
from portico.config import load_config
from portico.config.environment import OVERRIDES

FOLDER = COMPOSE.parent
SECRETS = FOLDER / "compose" / "secrets"
OWN = {"gateway", "gemini", "atc", "portfolio"}
"""The services whose image is Portico's."""


@pytest.fixture(scope="module")
def gateway_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The gateway's configuration, with secrets that its script makes."""
    folder = tmp_path_factory.mktemp("compose")
    script = folder / "secrets.sh"
    script.write_bytes((FOLDER / "compose" / "secrets.sh").read_bytes())
    for _ in range(2):
        subprocess.run(["sh", script], check=True, timeout=30)
        texts = [each.read_text() for each in sorted((folder / "secrets").iterdir())]
    assert len({*texts}) == len(compose()["secrets"]), "each is made once, and is another"
    assert (folder / "secrets").stat().st_mode & 0o777 == 0o700
    file = folder / "portico.yaml"
    text = (FOLDER / "compose" / "gateway" / "portico.yaml").read_text(encoding="utf-8")
    file.write_text(text.replace("/run/secrets", str(folder / "secrets")), encoding="utf-8")
    return file


@pytest.mark.skipif("PORTICO_FRESH" not in os.environ, reason="make package runs it: its extra brings the schema")
def test_it_is_what_compose_files_are() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_mounted_and_built_of_is_there() -> None:
    for name, service in services().items():
        for volume in service.get("volumes", []):
            source, target, *_ = volume.split(":")
            assert source in compose()["volumes"] or (FOLDER / source).is_dir(), (name, volume)
            assert target.startswith("/")
        if build := service.get("build"):
            assert (FOLDER / build["context"]).resolve() == ROOT
            assert (ROOT / build["dockerfile"]).is_file()


def test_every_name_leads_to_what_it_names() -> None:
    whole = compose()
    for name, service in services().items():
        assert set(service.get("depends_on", {})) <= set(whole["services"]), name
        assert set(service["networks"]) <= set(whole["networks"]), name
        assert set(service.get("secrets", [])) <= set(whole["secrets"]), name
        for other, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}
            assert "healthcheck" in services()[other], f"nobody knows whether {other} is healthy"


def test_every_secret_is_given_to_somebody_who_reads_it() -> None:
    mounted = [name for service in services().values() for name in service.get("secrets", [])]
    assert set(mounted) == set(compose()["secrets"])
    assert {each["file"] for each in compose()["secrets"].values()} == {f"./compose/secrets/{name}" for name in mounted}
    texts = {name: str(service) for name, service in services().items()}
    texts["gateway"] += (FOLDER / "compose" / "gateway" / "portico.yaml").read_text(encoding="utf-8")
    for name, service in services().items():
        for secret in service.get("secrets", []):
            assert f"/run/secrets/{secret}" in texts[name], (name, secret)


def test_secrets_are_in_no_commit() -> None:
    ignored = subprocess.run(["git", "check-ignore", "--quiet", SECRETS / "secret_key"], cwd=ROOT, check=False)
    assert ignored.returncode == 0


@pytest.mark.parametrize("name", sorted(services()))
def test_every_service_may_do_as_little_as_possible(name: str) -> None:
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service


def test_the_image_is_the_one_of_this_version() -> None:
    assert {services()[name]["image"] for name in OWN} == {f"portico:{__version__}"}
    others = [service["image"] for name, service in services().items() if name not in OWN]
    assert all(re.fullmatch(r"[a-z/]+:v?\d+\.\d+(\.\d+)?(-alpine)?", image) for image in others), others


def test_variables_are_those_that_the_gateway_reads() -> None:
    assert set(services()["gateway"]["environment"]) <= set(OVERRIDES)


def test_the_gateway_is_stopped_with_time_to_drain(gateway_file: Path) -> None:
    limits = load_config(gateway_file, {}).gateway.limits
    assert seconds(services()["gateway"]["stop_grace_period"]) > limits.drain_delay + limits.drain_timeout + 5


def test_the_gateway_leads_to_the_services_that_there_are(gateway_file: Path) -> None:
    config = load_config(gateway_file, {})
    for name, service in config.services.items():
        (instance,) = service.all_instances
        environment = services()[name]["environment"]
        assert instance.url == f"http://{name}:{environment['UVICORN_PORT']}"
        assert services()[name]["networks"] == ["services"]
    assert set(config.services) == OWN - {"gateway"}
    url = config.gateway.redis_url
    assert url is not None
    assert url.get_secret_value().endswith("@redis:6379/0")


def test_networks_are_trusted_that_nobody_comes_from_who_is_not_meant(gateway_file: Path) -> None:
    networks = compose()["networks"]
    monitoring = load_config(gateway_file, {}).gateway.endpoints.networks
    assert [*monitoring] == [ip_network(networks["monitoring"]["ipam"]["config"][0]["subnet"])]
    (backend,) = networks["services"]["ipam"]["config"]
    assert {services()[name]["environment"]["FORWARDED_ALLOW_IPS"] for name in OWN - {"gateway"}} == {backend["subnet"]}
    assert [name for name, network in networks.items() if not (network or {}).get("internal")] == ["edge"]


def test_prometheus_scrapes_the_gateway_and_grafana_shows_it() -> None:
    config = yaml.safe_load((FOLDER / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in config["scrape_configs"]}
    assert targets["portico"] == ["gateway:8000"]
    provisioning = FOLDER / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "portico.yaml").read_text())["providers"]
    mounted = dict(volume.split(":")[:2] for volume in services()["grafana"]["volumes"])
    assert mounted["./grafana/dashboards"] == provider["options"]["path"]


def test_the_configuration_is_mounted_where_the_image_looks() -> None:
    mounted = {volume.split(":")[1] for volume in services()["gateway"]["volumes"]}
    assert str(Path(variables()["PORTICO_CONFIG"]).parent) in mounted
    assert f"{variables()['XDG_STATE_HOME']}/portico" in mounted
