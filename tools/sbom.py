"""Write what an installation of the wheel with all extras consists of, as a CycloneDX document, beside the wheel.

The wheel is installed by constraints.txt into an environment of its own, without pip: what is listed is what runs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tools.dist import DIST, ROOT

FORMAT: Final = "1.6"
"""The version of CycloneDX: the one that most readers know (ECMA-424)."""


def install(wheel: Path, folder: Path) -> Path:
    """The Python of a new environment in `folder` that has the wheel with all its extras, and nothing else.

    Raises CalledProcessError.
    """
    program = folder / "bin/python"
    _run("-m", "venv", "--without-pip", folder)
    _run(
        *("-m", "pip", "--python", program, "--disable-pip-version-check", "-qq", "install", "--no-compile"),
        *("--constraint", ROOT / "constraints.txt", f"{wheel}[all]"),
    )
    return program


def describe(program: Path, version: str, target: Path) -> None:
    """Write what the environment of a Python consists of to `target`. Raises CalledProcessError."""
    _run(
        *("-m", "cyclonedx_py", "environment", "--pyproject", ROOT / "pyproject.toml", "--mc-type", "application"),
        *("--spec-version", FORMAT, "--output-reproducible", "--validate", "--output-file", target, program),
    )
    document = json.loads(target.read_text(encoding="utf-8"))
    document["metadata"]["component"]["version"] = version  # pyproject.toml only says where it is written
    target.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def version_of(wheel: Path) -> str:
    """The one in its name."""
    return wheel.name.split("-")[1]


def _run(*arguments: object) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, *map(str, arguments)], env=environ, check=True)


def main() -> int:
    """Describe the wheel in dist/."""
    wheels = list(DIST.glob("*.whl"))
    if len(wheels) != 1:
        print("there is no wheel in dist/: make dist builds it", file=sys.stderr)
        return 1
    target = DIST / f"portico_gateway-{version_of(wheels[0])}.cdx.json"
    with tempfile.TemporaryDirectory() as folder:
        describe(install(wheels[0], Path(folder)), version_of(wheels[0]), target)
    print(target.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
