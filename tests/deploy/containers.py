"""A Dockerfile and a Compose file, as far as tests ask about them."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile"
COMPOSE = ROOT / "deploy" / "compose.yaml"


class Step(NamedTuple):
    """An instruction: `RUN`, and what follows it, on one line."""

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """Its JSON array, if it has one, else what stands between spaces."""
        found = self.text[self.text.index("[") :] if re.match(r"(CMD )?\[", self.text) else ""
        return [*json.loads(found)] if found else self.text.split()


def stages() -> list[list[Step]]:
    """The steps of each stage, its FROM first."""
    lines = [line for line in DOCKERFILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines))
    steps = [Step(*line.split(maxsplit=1)) for line in whole.splitlines() if line.strip()]
    starts = [index for index, step in enumerate(steps) if step.name == "FROM"]
    return [steps[start:end] for start, end in zip(starts, [*starts[1:], len(steps)], strict=True)]


def step(name: str) -> Step:
    """The only one of its name in the last stage."""
    (found,) = (each for each in stages()[-1] if each.name == name)
    return found


def variables() -> dict[str, str]:
    """Those of the image."""
    return dict(re.findall(r"(\w+)=(\S+)", step("ENV").text))


def healthcheck() -> list[str]:
    """The command of the image's check."""
    text = step("HEALTHCHECK").text
    return list(json.loads(text[text.index("[") :]))


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps a file of the repository away: the last line that matches decides."""
    result = False
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.lstrip("!")
        parts = path.split("/")
        above = ["/".join(parts[: index + 1]) for index in range(len(parts))]
        if line and not line.startswith("#") and any(_matches(each, pattern) for each in above):
            result = not line.startswith("!")
    return result


def _matches(path: str, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatch(path.rpartition("/")[2], pattern[3:])
    return path.count("/") == pattern.count("/") and fnmatch(path, pattern)


def compose() -> dict[str, Any]:
    """The Compose file, merged as YAML merges."""
    return dict(yaml.safe_load(COMPOSE.read_text(encoding="utf-8")))


def services() -> dict[str, dict[str, Any]]:
    """Those of the Compose file."""
    return dict(compose()["services"])


def seconds(text: str) -> int:
    """Of a duration as Compose writes it."""
    found = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", text)
    assert found, text
    return int(found[1] or 0) * 60 + int(found[2] or 0)
