"""What is written under `policies.compress`."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from portico.core.settings import Settings, Size

DEFAULT: Final = "default"
_NAME: Final = r"[!#$%&'+\-.^_`|~0-9a-z]+"
_TYPE: Final = re.compile(rf"{_NAME}/(?:{_NAME}|\*)|\*\+{_NAME}|{DEFAULT}")


def _type(text: str) -> str:
    lower = text.lower()
    if not _TYPE.fullmatch(lower):
        raise ValueError("expected a media type without parameters, text/* for all of a kind, *+json, or default")
    return lower


CodingName = Annotated[Literal["zstd", "br", "gzip"], Field(description="One content coding.")]
TypePattern = Annotated[str, AfterValidator(_type)]


class LevelSettings(Settings):
    """How much work each coding is given; the highest levels take many times as long for little."""

    zstd: Annotated[int, Field(ge=1, le=19)] = 3
    """The level of zstd."""
    br: Annotated[int, Field(ge=0, le=11)] = 4
    """The level of br."""
    gzip: Annotated[int, Field(ge=1, le=9)] = 6
    """The level of gzip."""


class CompressSettings(Settings):
    """`encodings`: those that are offered; of what a client likes equally, the first one is taken. `min_size`: bytes
    from which on a response is worth it. `types`: media types; `default` stands for the usual ones. `cookies`:
    responses with Set-Cookie, too. `incremental`: those that say `Incremental: ?1`, too, each piece as it comes.
    """

    encodings: Annotated[list[CodingName], Field(min_length=1)] = ["zstd", "br", "gzip"]
    """Those that are offered. A client gets the one to which its `Accept-Encoding` gives the highest weight, and of
    several the first of this list.
    """
    min_size: Annotated[Size, Field(ge=0)] = 1 << 10
    """Smaller responses are not worth it."""
    types: Annotated[list[TypePattern], Field(min_length=1)] = [DEFAULT]
    """What is compressed. `default` stands for text in the wide sense: `text/*`, JSON, XML, YAML and what is written in
    them, JavaScript, WebAssembly, uncompressed fonts and images. `text/event-stream` has to be named itself.
    """
    levels: LevelSettings = LevelSettings()
    """How hard each tries."""
    cookies: bool = False
    """Whether responses with `Set-Cookie` are compressed, too."""
    incremental: bool = False
    """Whether those that say `Incremental: ?1` are, too: each piece as it comes."""

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.encodings)) < len(self.encodings):
            raise ValueError("encodings: each is named once, the one that is preferred first")
        return self
