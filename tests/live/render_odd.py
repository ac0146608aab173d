"""Characters that a target's own language has a use for, in all that is written, and paths that hide what they mean."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from live.render_cases import get
from support.tokens import bearer, token

TEXT: Final = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ \\1 %[src] $HOME ${HOME} \\n"
_IN_FIELDS: Final = TEXT.replace("{", "{{").replace("}", "}}")
_IN_PATHS: Final = "!$&'()+,-.:;=@_~\""
_VALUES: Final = (
    "a b",
    "}",
    "{",
    "-i",
    "--",
    "#x",
    "'",
    '"',
    "\\",
    "$HOME",
    "a,b",
    "(x)",
    "%41",
    "x~",
    "q;r",
    "-m",
    "|| x",
)
_PARAMETERS: Final = ("a b", "}", "&", "=", "'", "\u00e9", "", "a+b", "%41", "#")
_SECRET: Final = "a,b(c)'d\"e\\f $x %[y] #z {q} ~" + "k" * 40
_SCOPE: Final = "a'b\"c|d(e)"
_ISSUER: Final = "https://a'b\"c,(d) $e"


def odd_configuration(url: str, directory: Path) -> dict[str, Any]:
    """Routes before a service at `url`."""
    consumer = {"name": 'O\'Neil "x" \u00e9 %', "keys": [f"sha256:{sha256(b's t').hexdigest()}"], "scopes": [_SCOPE]}
    written = {
        "services": {"odd": {"url": url, "default_routes": False}},
        "consumers": [consumer],
        "routes": [route if "respond" in route else {"service": "odd", **route} for route in _routes()],
    }
    text = json.dumps(written).replace("$", "$$")  # no variables
    made: dict[str, Any] = json.loads(text)
    return made


def _routes() -> Any:
    for index, letter in enumerate(_IN_PATHS):
        yield {"name": f"prefix-{index}", "path": f"/p{index}{letter}q"}
        yield {"name": f"exact-{index}", "path": f"= /p{index}{letter}e", "rewrite": f"/to{letter}x"}
    fields = {"request": {"set": {"X-Site": _IN_FIELDS}}, "response": {"set": {"X-Added": _IN_FIELDS}}}
    yield {"name": "fields", "path": "/fields", "policies": {"headers": fields}}
    yield {"name": "body", "path": "/body", "respond": {"body": f"{TEXT}\n\t\r\n\u00e9", "headers": {"X-Why": TEXT}}}
    yield {"name": "long", "path": "/long", "respond": {"body": f"{TEXT}\n" * 200}}
    for index, value in enumerate(_VALUES):
        yield {"name": f"field-{index}", "path": f"/f{index}", "headers": {"X-Try": value}}
        yield {"name": f"no-field-{index}", "path": f"/f{index}", "rewrite": "/other/{path}"}
    for index, value in enumerate(_PARAMETERS):
        yield {"name": f"query-{index}", "path": f"/q{index}", "query": {"k": value}}
        yield {"name": f"no-query-{index}", "path": f"/q{index}", "rewrite": "/other/{path}"}
    for index, pattern in enumerate((r"^/x\{\}\'\"$", r"^/\$a", r"^/(?P<a>[^/]+)\.(?P<b>js|css)$", r"[!'()\"]+end$")):
        yield {"name": f"pattern-{index}", "path": f"~ {pattern}", "rewrite": f"/like{index}/{{path}}"}
    token_of = {"secret": _SECRET, "issuer": _ISSUER, "audience": ["x y", "}"]}
    yield {"name": "token", "path": "/token", "policies": {"auth": {"jwt": token_of}}}
    keyed = {"auth": {"api_key": {"query": "k.e-y_"}}, "authorize": {"scopes": [_SCOPE]}}
    yield {"name": "key", "path": "/key", "policies": keyed}
    guard = {"ip_filter": {"allow": ["10.0.0.0/8"]}}
    yield {"name": "guarded", "path": "/guarded", "policies": guard}
    yield {"name": "guarded-like", "path": "~ ^/g/[a-z]+/admin", "policies": guard}
    yield {"name": "guarded-exact", "path": "= /only", "policies": guard}
    yield {"name": "rest", "path": "/", "rewrite": "/rest/{path}"}


ODD: Final = (
    *(get(f"/p{index}{letter}q/x", 200, "/x") for index, letter in enumerate(_IN_PATHS)),
    *(get(f"/p{index}{letter}e", 200, f"/to{letter}x") for index, letter in enumerate(_IN_PATHS)),
    get("/fields/1", 200, "/1"),
    get("/body"),
    get("/long"),
    *(get(f"/f{index}/1", 200, "/1", f"X-Try: {value}") for index, value in enumerate(_VALUES)),
    *(get(f"/f{index}/1", 200, "/other/1", f"X-Try: {value}x") for index, value in enumerate(_VALUES)),
    *(
        get(f"/q{index}/1?{name}={quote(value, safe='')}", 200, f"/1?{name}={quote(value, safe='')}")
        for index, value in enumerate(_PARAMETERS)
        for name in ("k", "%6B", "a&k")
    ),
    *(
        get(f"/q{index}/1?x{quote(value, safe='')}=k", 200, f"/other/1?x{quote(value, safe='')}=k")
        for index, value in enumerate(_PARAMETERS)
    ),
    get("/x{}'\"", 200, "/like0/x{}'\""),
    get("/$ab/c", 200, "/like1/$ab/c"),
    get("/f%20g.css", 200, "/like2/f%20g.css"),
    get("/f.jss", 200, "/rest/f.jss"),
    get("/zz'\"end", 200, "/like3/zz'\"end"),
    *(get("/token/1", 200, "/1", bearer(token(_SECRET, iss=_ISSUER, aud=aud))) for aud in ("x y", "}", ["z", "}"])),
    get("/token/1", 401, None, bearer(token(_SECRET, iss=_ISSUER, aud="z"))),
    get("/key/1?k.e-y_=s%20t", 200, "/1"),
    get("/key/1?a=1&%6B.e-y_=s%20t&b=2", 200, "/1?a=1&b=2"),
    get("/key/1?k.e-y_=s%20t&", 200, "/1?"),
    get("/key/1?&k.e-y_=s%20t", 200, "/1?"),
    get("/key/1?a&k.e-y_=s%20t&k.e-y_=s", 401),
    get("/key/1?k.e-y_=s+t", 401),
    get("/key/1?k.e-y_", 401),
    *(get(path, 403) for path in ("/guarded", "/%67uarded/x", "/g/y/admin", "/only")),
    *(get(path, 400) for path in ("//guarded", "/%2Fguarded", "/guarded%2Fx", "/guarded;x=1/y", "/;a/guarded")),
    *(get(path, 400) for path in ("/%5Cguarded", "/guarded%3Fx", "/%2567uarded", "/g/y%2Fadmin", "/g//y/admin")),
    *(get(path, 400) for path in ("/%2Fonly", "/only%3Bx", "/only;x")),
    *(get(path, 200, f"/rest{path}") for path in ("/a//b", "/a;b", "/a%2Fb", "/x%5Cy")),
)
