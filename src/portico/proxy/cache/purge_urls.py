"""URLs as purges name them: in one spelling, with or without host and scheme."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

from portico.core.hosts import host_name
from portico.core.paths import normalised

_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
_URL: Final = re.compile(r"(?:(?:(?P<scheme>[^:/?#]*):)?//(?P<authority>[^/?#]*))?(?P<rest>.*)", re.DOTALL)
_AUTHORITY: Final = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>\d{1,5}))?", re.ASCII)
_EXPECTED: Final = "expected a path such as /news, or a URL such as https://api.example.com/news"


def purge_url(text: str) -> str:
    """A URL in the spelling in which it is compared: `/path?query`, `//host/path` or `https://host/path`.

    A path alone is meant on every host, `//host/path` in both schemes. Raises ValueError, which says how it is written.
    """
    match = _URL.fullmatch(text)
    assert match is not None
    rest = match["rest"]
    if not rest.startswith("/"):
        if match["authority"] is None or rest.startswith("#"):
            raise ValueError(_EXPECTED)
        rest = "/" + rest
    if "#" in rest:
        raise ValueError("a URL of a stored response has no fragment: leave out # and what follows it")
    path = normalised(quote(rest, safe="/?%:@!$&'()*+,;=-._~[]|\\^`{}\"<>").encode()).decode()
    return _origin(match["scheme"], match["authority"]) + path


def origin_of(text: str) -> str:
    """An origin, `https://host`, in the spelling in which it is compared. Raises ValueError."""
    match = _URL.fullmatch(text)
    if match is None or not match["scheme"] or not match["authority"] or match["rest"] not in ("", "/"):
        raise ValueError("expected an origin such as https://api.example.com")
    return _origin(match["scheme"], match["authority"])


def spellings(url: bytes) -> tuple[str, str, str]:
    """The three ways to name the URL of a stored response: on every host, in both schemes, exactly."""
    exact = normalised(url).decode("latin-1")
    with_host = exact[exact.index(":") + 1 :]
    return with_host[with_host.find("/", 2) :], with_host, exact


def _origin(scheme: str | None, authority: str | None) -> str:
    if authority is None:
        return ""
    scheme = scheme.lower() if scheme is not None else None
    if scheme not in (None, *_DEFAULT_PORTS):
        raise ValueError(f"a scheme is http or https, not {scheme}")
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise ValueError(_EXPECTED)
    host = host_name(match["host"])
    port = match["port"]
    shown = host if port is None or port == _DEFAULT_PORTS.get(scheme or "") else f"{host}:{int(port)}"
    return f"//{shown}" if scheme is None else f"{scheme}://{shown}"
