"""HAProxy's files: HAProxy reads them without a complaint, and what is lost opens nothing."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from documentation.examples import examples
from portico.config import Config, ConfigError, load_config, load_text
from portico.render import Rendering, render_haproxy
from portico.render.haproxy.text import word
from render.test_golden import NAMES, rendered
from support.authority import Authority
from support.site import output_of, program

BEGIN = "services: {a: {url: 'http://127.0.0.1:9001', default_routes: false}}\nroutes:\n"
SECRET = "a-secret-of-more-than-thirty-two-bytes"

needs_haproxy = pytest.mark.skipif(program("haproxy") is None, reason="haproxy is not installed")


def rendered_text(text: str) -> Rendering:
    return render_haproxy(load_text(text, "edge.yaml", {}))


def section(rendering: Rendering, name: str) -> str:
    """The lines of a route's section."""
    return rendering.files["haproxy.cfg"].partition(f"backend {name}\n")[2].partition("\n\n")[0]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with a certificate and its key, which stands for all that a configuration names."""
    folder = tmp_path_factory.mktemp("certificates")
    leaf = Authority(folder).leaf("gw.test")
    path = folder / "both.pem"
    path.write_bytes(Path(leaf.certificate).read_bytes() + Path(leaf.key).read_bytes())
    return str(path)


def complaints(rendering: Rendering, directory: Path, certificate: str) -> list[str]:
    """What HAProxy says of the files, but for names of instances that are not known here."""
    directory.mkdir()
    for name, text in rendering.files.items():
        if name == "haproxy.cfg":
            text = re.sub(r"\b(crt|ca-file) (?!@)\S+", rf"\1 {certificate}", text)
        (directory / name).write_text(text)
    said = output_of(program("haproxy") or "", "-c", "-f", str(directory / "haproxy.cfg"))
    lines = [line for line in said.splitlines() if re.match(r"\[(ALERT|WARNING)\]", line)]
    return [line for line in lines if "could not resolve address" not in line]


@needs_haproxy
def test_haproxy_takes_the_golden_files_and_the_demo(tmp_path: Path, certificate: str) -> None:
    files = {name: rendered(name, "haproxy") for name in NAMES}
    files["demo"] = render_haproxy(load_config(None, {}))
    for name, rendering in files.items():
        assert complaints(rendering, tmp_path / name, certificate) == [], name


@needs_haproxy
def test_haproxy_takes_every_configuration_of_the_documentation(tmp_path: Path, certificate: str) -> None:
    """All in one: a test for each would cost more than they do."""
    loaded: dict[str, Config] = {}
    for block in examples("yaml"):
        try:
            loaded.setdefault(block.block.text, load_text(block.block.text, "portico.yaml", {"SECRET_KEY": "k" * 40}))
        except ConfigError:
            continue  # a part of one, or one that is wrong
    assert len(loaded) > 100

    def check(at: int, config: Config) -> list[str]:
        return complaints(render_haproxy(config), tmp_path / str(at), certificate)

    with ThreadPoolExecutor(2) as pool:
        found = pool.map(check, range(len(loaded)), loaded.values())
        assert [pair for pair in zip(loaded, found, strict=True) if pair[1]] == []


@pytest.mark.parametrize(
    ("policies", "what"),
    [
        ("auth: {introspection: {url: 'https://id.example/i', client_id: a, client_secret: b}}", "auth"),
        ("auth: {jwt: {jwks_url: 'https://id.example/keys'}}", "auth"),
        (f"auth: {{jwt: {{secret: {SECRET}, from: [{{cookie: token}}]}}}}", "auth"),
        (f"auth: {{jwt: {{secret: {SECRET}}}}}, authorize: {{roles: [boss]}}", "authorize"),
        (f"auth: {{jwt: {{secret: {SECRET}}}}}, deny: [{{when: {{claims: {{a: b}}}}}}]", "deny"),
    ],
)
def test_a_route_whose_guard_is_lost_is_closed(policies: str, what: str) -> None:
    rendering = rendered_text(BEGIN + f"  - {{name: x, path: /x, service: a, policies: {{{policies}}}}}\n")
    assert [loss.what for loss in rendering.losses] == [f"routes[0].policies.{what}"]
    assert "closed" in rendering.losses[0].why
    assert section(rendering, "x").splitlines()[-1] == "    http-request deny deny_status 503"
    assert "server " not in section(rendering, "x")


def test_secrets_are_in_a_file_of_their_own() -> None:
    text = BEGIN + f"  - {{name: x, path: /x, service: a, policies: {{auth: {{jwt: {{secret: {SECRET}}}}}}}}}\n"
    rendering = rendered_text(text)
    assert [name for name, content in rendering.files.items() if SECRET in content] == ["secrets.map"]
    assert rendering.private == {"secrets.map"}


def test_a_pattern_with_more_groups_than_haproxy_has_is_closed() -> None:
    names = "abcdefghij"
    path = "".join(f"/(?P<{name}>[0-9]+)" for name in names)
    rewrite = "".join(f"/{{{name}}}" for name in names)
    rendering = rendered_text(BEGIN + f"  - {{name: x, path: '~ ^{path}$', service: a, rewrite: '{rewrite}'}}\n")
    assert [loss.what for loss in rendering.losses] == ["routes[0].path"]
    assert "deny_status 503" in section(rendering, "x")


def test_the_first_route_to_a_service_checks_its_instances() -> None:
    health = "services: {a: {url: 'http://127.0.0.1:9001', health_check: /health, default_routes: false}}\nroutes:\n"
    rendering = rendered_text(health + "".join(f"  - {{name: {name}, path: /{name}, service: a}}\n" for name in "xy"))
    assert "http-check send meth GET uri /health ver HTTP/1.1 hdr Host 127.0.0.1:9001" in section(rendering, "x")
    assert "server i1 127.0.0.1:9001 track x/i1" in section(rendering, "y")


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("plain/1", "plain/1"),
        ("a b", "'a b'"),
        ("$HOME", "'$HOME'"),
        ("it's $x\\", '"it\'s \\$x\\\\"'),
        ("a\n\t\x01", '"a\\n\\t\\x01"'),
        ("#", "'#'"),
        ("", "''"),
    ],
)
def test_words_are_quoted(text: str, written: str) -> None:
    assert word(text) == written
