"""Reading text as a configuration, and the report of what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from textwrap import dedent

import pytest

from portico.config import Config, ConfigError, load_text

Load = Callable[..., Config]
Report = Callable[..., list[str]]


@pytest.fixture
def load() -> Load:
    def read(text: str, environ: Mapping[str, str] | None = None) -> Config:
        return load_text(dedent(text), "portico.yaml", environ or {})

    return read


@pytest.fixture
def report(load: Load) -> Report:
    """The lines of the error that a text gives."""

    def read(text: str, environ: Mapping[str, str] | None = None) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(text, environ)
        return str(caught.value).splitlines()

    return read
