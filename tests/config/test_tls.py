from __future__ import annotations

from pathlib import Path

import pytest

from config.conftest import Load, Report
from portico.config import Problem, dump_config, expired_certificates, file_problems, load_dumped, warnings_for
from support.authority import Authority

WHOLE = """\
gateway:
  port: 443
  proxy_protocol: true
  trusted_proxies: [10.0.0.0/8]
  tls:
    certificate: cert.pem
    key: key.pem
    certificates: [{certificate: b.pem, key: b.key}]
    min_version: 1.3
    client_certificates: {ca: ca.pem, required: false}
    redirect_from: 80
    redirect_to: 443
services:
  a: {url: https://h, tls: {ca: ca.pem, certificate: own.pem, key: own.key}}
"""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_everything_written(load: Load) -> None:
    config = load_dumped(dump_config(load(WHOLE)))
    tls = config.gateway.tls
    assert tls is not None
    assert config.gateway.proxy_protocol
    assert [(pair.certificate.name, pair.key.name) for pair in tls.pairs(Path())] == [
        ("cert.pem", "key.pem"),
        ("b.pem", "b.key"),
    ]
    assert (tls.min_version, tls.redirect_from, tls.redirect_to) == ("1.3", 80, 443)
    assert tls.client_certificates is not None
    assert (tls.client_certificates.ca, tls.client_certificates.required) == (Path("ca.pem"), False)
    upstream = config.services["a"].upstream().tls
    assert upstream.pair is not None
    assert [file.name for file in upstream.files] == ["ca.pem", "own.pem", "own.key"]


def test_defaults(load: Load) -> None:
    tls = load("gateway: {tls: {certificate: a, key: b, client_certificates: {ca: c}}}").gateway.tls
    assert tls is not None
    assert (tls.min_version, tls.redirect_from, tls.certificates) == ("1.2", None, ())
    assert tls.client_certificates is not None
    assert tls.client_certificates.required


@pytest.mark.parametrize("written", ["1.2", "'1.2'", "1.20"])
def test_a_version_may_look_like_a_number(load: Load, written: str) -> None:
    tls = load(f"gateway: {{tls: {{certificate: a, key: b, min_version: {written}}}}}").gateway.tls
    assert tls is not None
    assert tls.min_version == "1.2"


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("{min_version: 1.1}", "tls.min_version: expected one of 1.2, 1.3"),
        ("{min_version: 1}", "tls.min_version: expected one of 1.2, 1.3"),
        ("{certificates: {certificate: a, key: b}}", "tls.certificates: expected a list"),
        ("{certificates: [{key: b}]}", 'tls.certificates[0]: the key "certificate" has to be written'),
        ("{client_certificates: {required: yes}}", 'tls.client_certificates: the key "ca" has to be written'),
        ("{redirect_from: 70000}", "tls.redirect_from: has to be 65535 or less"),
        ("{redirect_to: 443}", "tls: has redirect_to without redirect_from, the port that redirects"),
        ("{redirect_from: 8000}", "tls.redirect_from: has to be another port than gateway.port"),
    ],
)
def test_what_is_refused(report: Report, written: str, message: str) -> None:
    (line,) = report(f"gateway: {{tls: {{certificate: a, key: b, {written[1:]}}}")
    assert line.split(": ", 1)[1] == f"gateway.{message}"


def test_a_proxy_header_needs_trusted_proxies(report: Report) -> None:
    assert report("gateway: {proxy_protocol: true}") == [
        "portico.yaml:1:27: gateway.proxy_protocol: needs trusted_proxies: "
        "only a peer named there may say where a connection comes from"
    ]


@pytest.mark.parametrize("half", ["certificate", "key"])
def test_half_a_pair(report: Report, half: str) -> None:
    (line,) = report(f"services: {{a: {{url: https://h, tls: {{{half}: x.pem}}}}}}")
    assert line.endswith("services.a.tls: needs both certificate and key, or neither")


# ---- files


def lines_of(problems: list[Problem]) -> list[int | None]:
    return [problem.line for problem in problems]


def without_places(problems: list[Problem]) -> list[str]:
    return [str(problem).partition(": ")[2] for problem in problems]


def test_files_that_can_be_used(load: Load, authority: Authority) -> None:
    own, other = authority.leaf("own", "a.test", days=90), authority.leaf("other", days=90)
    text = f"""
    gateway:
      tls: {{certificate: {own.certificate}, key: {own.key}, certificates: [{other.written}],
             client_certificates: {{ca: {authority.ca}}}}}
    services: {{a: {{url: https://h, tls: {{ca: {authority.ca}, certificate: {own.certificate}, key: {own.key}}}}}}}
    policies: {{rate_limit: {{}}}}
    """
    config = load(text)
    assert (file_problems(config), expired_certificates(config), warnings_for(config)) == ([], [], [])


def test_files_that_cannot(load: Load, authority: Authority, tmp_path: Path) -> None:
    own, other = authority.leaf("own", days=90), authority.leaf("other", days=90)
    (tmp_path / "rubbish").write_text("rubbish")
    text = f"""
    gateway:
      tls:
        certificate: {own.certificate}
        key: {other.key}
        certificates:
          - {{certificate: {tmp_path}/absent, key: {own.key}}}
          - {{certificate: {tmp_path}/rubbish, key: {own.key}}}
          - {{certificate: {own.certificate}, key: {tmp_path}/rubbish}}
        client_certificates: {{ca: {tmp_path}/rubbish}}
    services:
      a: {{url: https://h, tls: {{ca: {tmp_path}/absent}}, versions: {{v1: {{tls: {{verify: false}}}}}}}}
      b: {{url: https://h, tls: {{certificate: {own.certificate}, key: {other.key}}}}}
      c: {{url: https://h, versions: {{v1: {{tls: {{ca: {own.key}}}}}}}}}
    """
    assert lines_of(file_problems(load(text))) == [5, 7, 8, 9, 10, 12, 13, 14]
    assert without_places(file_problems(load(text))) == [
        f"gateway.tls.key: {other.key}: not the key of the certificate {own.certificate}",
        f"gateway.tls.certificates[0].certificate: {tmp_path}/absent: No such file or directory",
        f"gateway.tls.certificates[1].certificate: {tmp_path}/rubbish: no certificate in PEM form at its beginning",
        f"gateway.tls.certificates[2].key: {tmp_path}/rubbish: no private key in PEM form",
        f"gateway.tls.client_certificates.ca: {tmp_path}/rubbish: no certificates in PEM form",
        f"services.a.tls.ca: {tmp_path}/absent: No such file or directory",
        f"services.b.tls.key: {other.key}: not the key of the certificate {own.certificate}",
        f"services.c.versions.v1.tls.ca: {own.key}: no certificates in PEM form",
    ]


def test_an_encrypted_key_is_refused_without_a_prompt(load: Load, authority: Authority) -> None:
    from cryptography.hazmat.primitives import serialization

    own = authority.leaf("own")
    key = serialization.load_pem_private_key(own.key.read_bytes(), None)
    encrypted = serialization.BestAvailableEncryption(b"secret")
    own.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encrypted))
    text = f"gateway: {{tls: {{certificate: {own.certificate}, key: {own.key}}}}}"
    assert without_places(file_problems(load(text))) == [
        f"gateway.tls.key: {own.key}: the key is encrypted, and there is no prompt for its password"
    ]


def test_certificates_that_expire(load: Load, authority: Authority) -> None:
    soon, over = authority.leaf("soon", days=13.5), authority.leaf("over", days=-1)
    text = f"""
    gateway: {{tls: {{certificate: {soon.certificate}, key: {soon.key}, certificates: [{over.written}]}}}}
    services: {{a: {{url: https://h, tls: {{certificate: {over.certificate}, key: {over.key}}}}}}}
    policies: {{rate_limit: {{}}}}
    """
    config = load(text)
    assert file_problems(config) == []
    assert without_places(expired_certificates(config)) == [
        f"gateway.tls.certificates[0].certificate: {over.certificate} has expired",
        f"services.a.tls.certificate: {over.certificate} has expired",
    ]
    (line,) = map(str, warnings_for(config))
    assert line.startswith("portico.yaml:2:")
    assert line.endswith(f"gateway.tls.certificate: {soon.certificate} expires in 13 days: renew it")
