"""What is in `deploy/kubernetes`, read without kustomize: resources, components and generators, not patches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

import yaml

KUBERNETES: Final = Path(__file__).parents[2] / "deploy" / "kubernetes"
OVERLAYS: Final = tuple(sorted(each.name for each in (KUBERNETES / "overlays").iterdir() if each.is_dir()))

Document: TypeAlias = dict[str, Any]


def documents(file: Path) -> list[Document]:
    return [each for each in yaml.safe_load_all(file.read_text()) if each is not None]


def collected(folder: Path) -> Iterator[Document]:
    """Every object that a kustomization has."""
    (kustomization,) = documents(folder / "kustomization.yaml")
    for name in (*kustomization.get("resources", ()), *kustomization.get("components", ())):
        path = folder / name
        yield from collected(path.resolve()) if path.is_dir() else documents(path)
    for each in kustomization.get("configMapGenerator", ()):
        data = {file: (folder / file).read_text() for file in each["files"]}
        yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": each["name"]}, "data": data}
    for each in kustomization.get("secretGenerator", ()):
        data = dict(literal.split("=", 1) for literal in each["literals"])
        yield {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": each["name"]}, "data": data}


class Cluster:
    """The objects of one namespace, and what leads from one to another."""

    def __init__(self, objects: list[Document]) -> None:
        self.objects = objects

    def all(self, *kinds: str) -> list[Document]:
        return [each for each in self.objects if each["kind"] in kinds]

    def one(self, kind: str, name: str = "api-gateway") -> Document:
        (found,) = (each for each in self.all(kind) if each["metadata"]["name"] == name)
        return found

    def has(self, kind: str, name: str) -> bool:
        return any(each["metadata"]["name"] == name for each in self.all(kind))

    @property
    def workloads(self) -> list[Document]:
        return self.all("Deployment", "StatefulSet")

    def pods_of(self, labels: dict[str, str]) -> list[Document]:
        """The workloads whose pods a selector selects."""
        return [each for each in self.workloads if labels.items() <= template(each)["metadata"]["labels"].items()]


def template(workload: Document) -> Document:
    found: Document = workload["spec"]["template"]
    return found


def containers(workload: Document) -> list[Document]:
    found: list[Document] = template(workload)["spec"]["containers"]
    return found


def port_names(workload: Document) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for each in containers(workload) for port in each.get("ports", ())}
