from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from config.conftest import Load, Report
from portico.config import AcmeSettings, Config, dump_config, file_problems, load_dumped, notes_for, warnings_for
from portico.config.acme import LETS_ENCRYPT


def acme(written: str, tls: str = "redirect_from: 80") -> str:
    return f"gateway: {{port: 443, tls: {{acme: {{{written}}}, {tls}}}}}\nservices: {{a: {{url: http://h}}}}"


def settings(config: Config) -> AcmeSettings:
    (found,) = config.gateway.ordered_certificates.values()
    return found


def test_defaults(load: Load) -> None:
    found = settings(load(acme("domains: [Shop.Example.COM.], terms_agreed: true")))
    assert found.domains == ("shop.example.com",)
    assert (found.directory, found.email, found.key_type, found.eab) == (LETS_ENCRYPT, None, "p256", None)


def test_everything_written(load: Load) -> None:
    text = acme(
        "domains: [a.example.com, bücher.example], terms_agreed: yes, email: ops@example.com, key_type: rsa2048, "
        "directory: https://ca.internal/acme, ca_file: root.pem, profile: shortlived, "
        "eab: {key_id: kid-1, hmac_key: '${HMAC}'}"
    )
    config = load(text, {"HMAC": "c2VjcmV0IHNlY3JldCBzZWNyZXQ"})
    found = settings(load_dumped(dump_config(config)))
    assert found == settings(config)
    assert found.domains == ("a.example.com", "xn--bcher-kva.example")
    assert found.eab is not None
    assert "c2Vj" not in repr(found)
    assert found.ca_file == Path("root.pem")


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("domains: [a.example.com]", "tls.acme: write terms_agreed: true once you have read the terms of"),
        ("domains: [a.example.com], terms_agreed: false", "acme.terms_agreed: write terms_agreed: true once you have"),
        ("domains: [a.example.com], terms_agreed: maybe", "acme.terms_agreed: write terms_agreed: true once you have"),
        ("domains: [a.example.com], terms_agreed: ", "nothing is written after the colon: write terms_agreed: true"),
        ("terms_agreed: true", 'acme: the key "domains" has to be written'),
        ("domains: a.example.com, terms_agreed: true", "expected a list: write domains: [www.example.com]"),
        ("domains: [], terms_agreed: true", "acme.domains"),
        ("domains: ['*.example.com'], terms_agreed: true", "a wildcard takes a challenge over DNS (DNS-01)"),
        ("domains: [10.0.0.7], terms_agreed: true", "an address is no DNS name"),
        ("domains: ['[::1]'], terms_agreed: true", "expected the DNS name of a host"),
        ("domains: [a_b.example.com], terms_agreed: true", "expected the DNS name of a host"),
        ("domains: ['https://a.example.com'], terms_agreed: true", "expected the DNS name of a host"),
        (f"domains: [{'a.' * 127}com], terms_agreed: true", "expected the DNS name of a host"),
        ("domains: [a.example.com, A.example.com], terms_agreed: true", "a.example.com is in this list already"),
        ("domains: [a.test], terms_agreed: true, directory: http://ca/d", "expected the https address of an ACME"),
        ("domains: [a.test], terms_agreed: true, email: ops", "expected one address of mail"),
        ("domains: [a.test], terms_agreed: true, key_type: dsa", "expected one of p256, p384, rsa2048, rsa4096"),
        ("domains: [a.test], terms_agreed: true, eab: {key_id: a}", 'the key "hmac_key" has to be written'),
        ("domains: [a.test], terms_agreed: true, eab: {key_id: a, hmac_key: '+/+/'}", "expected the key in base64url"),
        ("domains: [a.test], terms_agreed: true, eab: ", "nothing is written after the colon: write eab:"),
    ],
)
def test_what_is_refused(report: Report, written: str, message: str) -> None:
    (line,) = report(acme(written))
    assert message in line


@pytest.mark.parametrize(
    ("tls", "message"),
    [
        ("{redirect_from: 80}", 'the key "certificate" has to be written, or acme'),
        ("{certificate: a}", 'the key "key" has to be written'),
        ("{key: a}", 'the key "certificate" has to be written'),
        ("{key: a, acme: {domains: [a.test], terms_agreed: true}}", 'the key "certificate" has to be written'),
        (
            "{acme: }",
            "nothing is written after the colon: write acme: {domains: [www.example.com], terms_agreed: true}",
        ),
    ],
)
def test_a_certificate_is_in_files_or_ordered(report: Report, tls: str, message: str) -> None:
    (line,) = report(f"gateway: {{tls: {tls}}}")
    assert message in line


def test_files_are_for_other_names(load: Load) -> None:
    more = "certificates: [{certificate: b.pem, key: b.key}]"
    for own, order in (("", "acme b"), ("certificate: a.pem, key: a.key, ", "a b acme")):
        tls = load(acme("domains: [a.test], terms_agreed: true", own + more)).gateway.tls
        assert tls is not None
        assert [each.certificate.name[:4].partition(".")[0] for each in tls.pairs(Path("x"))] == order.split()


def test_what_makes_it_another_certificate(load: Load) -> None:
    def names(written: str) -> tuple[str, str]:
        found = settings(load(acme(f"terms_agreed: true, {written}")))
        return found.name, found.account_name

    base = names("domains: [a.test, b.test]")
    assert names("domains: [b.test, a.test], email: a@b.example") == base
    assert names("domains: [a.test]") == (names("domains: [a.test]")[0], base[1]) != base
    assert names("domains: [a.test, b.test], key_type: p384")[0] != base[0]
    other = names("domains: [a.test, b.test], directory: https://acme-staging-v02.api.letsencrypt.org/directory")
    assert other[0] != base[0]
    assert other[1] != base[1]


@pytest.mark.parametrize(
    ("tls", "port", "warned", "noted"),
    [
        ("redirect_from: 80", "443", False, False),
        ("redirect_from: 8080", "443", False, True),
        ("min_version: 1.2", "443", True, False),
    ],
)
def test_the_port_at_which_authorities_ask(load: Load, tls: str, port: str, warned: bool, noted: bool) -> None:
    config = load(acme("domains: [www.example.com], terms_agreed: true", tls))
    lines = [str(each) for each in warnings_for(config) if "port 80" in str(each)]
    assert bool(lines) is warned
    notes = [note for note in notes_for(config) if "port 80" in note]
    assert notes == (["www.example.com: the authority asks at port 80, which has to lead to port 8080 here"] * noted)


def test_a_plain_listener_can_be_asked(load: Load) -> None:
    text = """
        gateway:
          listen:
            - {port: 443, tls: {acme: {domains: [www.example.com], terms_agreed: true}}}
            - {port: 80}
        services: {a: {url: http://h}}
    """
    assert not [each for each in map(str, warnings_for(load(text))) if "port 80" in each]


@pytest.mark.parametrize("name", ["shop.local", "shop.internal", "shop", "shop.home.arpa"])
def test_names_that_no_public_authority_signs(load: Load, name: str) -> None:
    message = f"no public authority signs {name}, a name for a network of one's own"
    for more, count in (("", 1), (", directory: https://ca/d, ca_file: root.pem", 0)):
        config = load(acme(f"domains: [{name}], terms_agreed: true{more}"))
        assert sum(message in str(each) for each in warnings_for(config)) == count


@pytest.mark.parametrize("written", ["true", "[a.test]", "a.test"])
def test_what_is_no_section_is_shown_one(report: Report, written: str) -> None:
    said = "gateway.tls.acme: expected keys and values: write acme: {domains: [www.example.com], terms_agreed: true}"
    assert said in "".join(report(f"gateway: {{tls: {{acme: {written}}}}}\nservices: {{a: {{url: http://h}}}}"))


def test_what_is_not_there(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing: Any = tmp_path / "none.pem"
    config = load(acme(f"domains: [a.test], terms_agreed: true, ca_file: {missing}"))
    (line,) = map(str, file_problems(config))
    assert f"gateway.tls.acme.ca_file: {missing}: No such file" in line
    monkeypatch.setitem(sys.modules, "acme", None)
    config = load(acme("domains: [a.test], terms_agreed: true"))
    (line,) = map(str, file_problems(config))
    assert "gateway.tls.acme: needs what is not installed: pip install 'portico-gateway[acme]'" in line
