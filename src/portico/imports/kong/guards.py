"""Kong's plugins that say who may come in."""

from __future__ import annotations

import re
from typing import Any, Final

from portico.imports.draft import Variable
from portico.imports.kong.entities import Plugin, variable_in
from portico.imports.kong.pieces import Piece, Reading, closed
from portico.imports.patterns import translated, why_not

_LENGTHS: Final = {"HS256": 32, "HS384": 48, "HS512": 64}


def key_auth(plugin: Plugin, reading: Reading) -> Piece:
    """`key-auth`: one field, or one parameter of the query."""
    names = plugin.config.get("key_names").texts() or ["apikey"]
    if not reading.credentials.get("key-auth"):
        reading.changed(plugin, "", "no consumer of the file has a key: portico keys create makes some")
    if len(names) > 1:
        reading.changed(plugin, "key_names", f"keys are looked for in {names[0]} only")
    in_header = plugin.config.flag_at("key_in_header", default=True)
    in_query = plugin.config.flag_at("key_in_query", default=True)
    if not in_header and not in_query:
        return closed("keys in bodies are not looked for")
    if in_header and plugin.config.has("key_in_query") and in_query:
        reading.changed(plugin, "key_in_query", "keys are looked for in the header field only")
    if plugin.config.flag_at("key_in_body"):
        reading.changed(plugin, "key_in_body", "keys are not looked for in bodies")
    reading.unknown(plugin, *_AUTH_KEYS, "key_names", "key_in_header", "key_in_query", "key_in_body")
    return _auth(plugin, reading, "api_key", {"header" if in_header else "query": names[0]})


def basic_auth(plugin: Plugin, reading: Reading) -> Piece:
    """`basic-auth`: names and passwords of consumers."""
    if not any("password" in part.data for part in reading.draft.consumers):
        return closed("no consumer has a password that could be taken: nobody could come in")
    reading.unknown(plugin, *_AUTH_KEYS)
    return _auth(plugin, reading, "basic", {})


_AUTH_KEYS: Final = ("anonymous", "hide_credentials", "run_on_preflight", "realm")


def _auth(plugin: Plugin, reading: Reading, key: str, settings: dict[str, Any]) -> Piece:
    """A way to come in. Kong asks for all of several, unless each admits the same anonymous consumer."""
    anonymous = plugin.config.text_at("anonymous")
    if len(reading.auth) > 1 and not anonymous:
        return closed("Kong asks for the credentials of all these plugins, Portico for those of one")
    auth: dict[str, Any] = {key: settings}
    if anonymous and anonymous in reading.anonymous_refused:
        reading.changed(plugin, "anonymous", f"nobody comes in as {anonymous}, whom a plugin of its own may refuse")
    elif anonymous:
        auth["optional"] = True
    return Piece({"auth": auth})


def jwt(plugin: Plugin, reading: Reading) -> Piece:
    """`jwt`: one shared secret; public keys have to become files first."""
    config = plugin.config
    found = reading.credentials.get("jwt") or []
    if not found:
        return closed("no consumer of the file has a jwt credential: nobody could come in")
    if len(found) > 1 or found[0][0].text_at("algorithm", "HS256") not in _LENGTHS:
        return closed(
            "keys of issuers are files or published: write auth: {jwt: {issuers: [{issuer: KEY, public_key_file: "
            "FILE.pem}]}}, with each credential's key for KEY and its rsa_public_key in the file"
        )
    if config.flag_at("secret_is_base64"):
        return closed("the secret is in base64: write what it stands for as auth: {jwt: {secret: …}}")
    fields = [name.lower() for name in config.get("header_names").texts()]
    if fields and "authorization" not in fields:
        return closed("tokens are looked for in Authorization, a cookie, or the query")
    claim = config.text_at("key_claim_name", "iss")
    if claim != "iss":
        return closed(f"the issuer of a token is known by iss, not by {claim}")
    credential, consumer = found[0]
    algorithm = credential.text_at("algorithm", "HS256")
    secret = credential.text_at("secret")
    name = variable_in(secret) or "JWT_SECRET"
    reading.changed(plugin, "", f"the secret of {consumer} is read from {name}; the consumer is the token's sub")
    if secret and not variable_in(secret) and len(secret.encode()) < _LENGTHS[algorithm]:
        why = f"{algorithm} needs a secret of {_LENGTHS[algorithm]} bytes or more (RFC 7518): make a new one"
        reading.draft.changed(credential.get("secret").where, "jwt_secrets: secret", why)
    settings: dict[str, Any] = {"secret": Variable(name), "algorithms": [algorithm]}
    if credential.has("key"):
        settings["issuer"] = credential.text_at("key")
    verified = config.get("claims_to_verify").texts()
    if "exp" in verified:
        settings["require_expiry"] = True
    if "nbf" in verified:
        settings["required_claims"] = ["nbf"]
    queries = config.get("uri_param_names").texts() if config.has("uri_param_names") else ["jwt"]
    cookies = config.get("cookie_names").texts()
    places = [*({"query": each} for each in queries), *({"cookie": each} for each in cookies)]
    if places:
        settings["from"] = ["header", *places]
    known = ("secret_is_base64", "header_names", "key_claim_name", "claims_to_verify", "uri_param_names")
    reading.unknown(plugin, *_AUTH_KEYS, *known, "cookie_names")
    return _auth(plugin, reading, "jwt", settings)


def acl(plugin: Plugin, reading: Reading) -> Piece:
    """`acl`: groups are scopes of consumers."""
    allow = plugin.config.get("allow" if plugin.config.has("allow") else "whitelist").texts()
    deny = plugin.config.get("deny" if plugin.config.has("deny") else "blacklist").texts()
    if "jwt" in reading.auth:
        return closed(
            "a token says itself which scopes it has; groups of consumers are not asked for those with tokens"
        )
    reading.unknown(plugin, "allow", "deny", "whitelist", "blacklist", "hide_groups_header")
    if allow:
        return Piece({"authorize": {"any_scopes": allow}})
    members = sorted({name for group in deny for name in reading.groups.get(group, ())})
    if not members:
        return Piece()
    return Piece({"deny": [{"name": "acl", "when": {"consumer": members}}]})


def ip_restriction(plugin: Plugin, reading: Reading) -> Piece:
    """`ip-restriction`: networks that may come in, and others that may not."""
    allow = plugin.config.get("allow" if plugin.config.has("allow") else "whitelist").texts()
    deny = plugin.config.get("deny" if plugin.config.has("deny") else "blacklist").texts()
    reading.unknown(plugin, "allow", "deny", "whitelist", "blacklist")
    lists = {key: value for key, value in (("allow", allow), ("deny", deny)) if value}
    return Piece({"ip_filter": lists}) if lists else Piece()


def bot_detection(plugin: Plugin, reading: Reading) -> Piece:
    """`bot-detection`: patterns of `User-Agent`. Kong's own list of them is Kong's."""
    reading.left(plugin, "", "Kong's own list of robots: write those that you mean as deny rules on User-Agent")
    if plugin.config.get("allow").texts():
        return closed("robots that are let in although they are on a list")
    rules = []
    for written in plugin.config.get("deny").texts():
        pattern, ignores_case = translated(written)
        if why := why_not(pattern, is_path=False, ignores_case=ignores_case):
            return closed(f"{written}: {why}")
        rules.append({"name": "bot", "when": {"headers": {"User-Agent": f"{'~*' if ignores_case else '~'} {pattern}"}}})
    return Piece({"deny": rules}) if rules else Piece()


_DOMAIN: Final = re.compile(r"(?:\(\.\+\\?\.\)\?|\.\*\\?\.?|\(\.\*\\\.\)\?|\[\^\.\]\+\\\.)(?P<rest>[\w.\\-]+)")


_EXPOSED: Final = frozenset({"retry-after", "ratelimit", "ratelimit-policy", "x-request-id"})
"""What pages may always read."""


def cors(plugin: Plugin, reading: Reading) -> Piece:
    """`cors`: not a guard of the service, but one of other people's pages."""
    config = plugin.config
    origins = [each for origin in config.get("origins").texts() for each in _origins(origin, plugin, reading)]
    settings: dict[str, Any] = {"allow_origins": origins if config.get("origins").items() else ["*"]}
    if not settings["allow_origins"]:
        return Piece()
    if config.has("methods"):
        settings["allow_methods"] = config.get("methods").texts()
    if config.get("headers").texts():
        settings["allow_headers"] = config.get("headers").texts()
    if exposed := [name for name in config.get("exposed_headers").texts() if name.lower() not in _EXPOSED]:
        settings["expose_headers"] = exposed
    if config.flag_at("credentials"):
        settings["allow_credentials"] = True
        if "*" in origins or not origins:
            reading.changed(plugin, "credentials", "not for every origin: name those that may send credentials")
    if config.has("max_age"):
        settings["max_age"] = config.get("max_age").number()
    known = ("origins", "methods", "headers", "exposed_headers", "credentials", "max_age", "allow_origin_absent")
    reading.unknown(plugin, *known)
    return Piece({"cors": settings})


def _origins(written: str, plugin: Plugin, reading: Reading) -> list[str]:
    """An origin of Kong's, which may be a pattern, or a host without a scheme."""
    if written == "*" or re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+", written):
        return [written]
    text = written.removeprefix("^").removesuffix("$").replace("\\/", "/")
    scheme = re.match(r"(https\??)://", text)
    schemes = ["https"] if scheme is None or scheme[1] == "https" else ["http", "https"]
    if scheme is None and text.startswith("http://"):
        scheme, schemes = re.match("http://", text), ["http"]
    host = text[scheme.end() :] if scheme else text
    if re.fullmatch(r"(?:[\w-]|\\?\.)+(?::\d+)?", host):
        return [f"{each}://{host.replace(chr(92), '')}" for each in schemes]
    if found := _DOMAIN.fullmatch(host):
        name = found["rest"].replace("\\", "").lstrip(".")
        bare = [f"{each}://{name}" for each in schemes] if host.startswith("(") else []
        return [*bare, *(f"{each}://*.{name}" for each in schemes)]
    reading.left(plugin, "origins", f"{written}: origins are named, or https://*.example.com; this one is not allowed")
    return []
