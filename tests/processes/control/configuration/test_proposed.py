"""The document in force comes back as the same file; what is changed in it is all that changes."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from documentation.markdown import blocks
from portico.config import Config, ConfigError, load_config, load_text
from portico.config.document import parse_document
from portico.config.substitution import raw_data
from portico.processes.control.configuration.errors import RefusedError
from portico.processes.control.configuration.history import History
from portico.processes.control.configuration.in_force import InForce
from portico.processes.control.configuration.proposed import Proposed, Sent, propose
from portico.render.yaml_text import document as yaml_document

DOCS = sorted((Path(__file__).parents[4] / "docs").glob("*.md"))
_EVERY = 6
"""Of the examples of the documentation, so many are tried."""
MORE = """\
services:
  more: {url: "http://localhost:9", policies: {auth: {jwt: {secret: a-secret-of-an-included-file-here}}}}
routes:
  - {name: more-too, path: /more-too, service: more}
"""
TEXT = """\
# The shop's own.
include: [more.yaml]
gateway:
  title: ${TITLE}
  admin_token: ${TOKEN}
  admin_tokens:
    - {name: ada, token: token-of-ada}
    - {name: bob, token: token-of-bob}
  limits: {body_size: 1MiB}
services:
  shop: &shop {url: "http://localhost:1", timeout: 30s}
  bank: {<<: *shop, url: "http://localhost:2", circuit_breaker: {}}
policies:
  headers: {request: {set: {X-Price: "5 $$", X-Brace: "$${{x}}", X-No: no, X-Page: ${file:secret}}}}
routes:
  - {path: /a, service: shop, policies: {rate_limit: {requests_per_minute: 12}}}
  - {path: "= /robots.txt", respond: {body: "User-agent: *"}}
  - name: data
    path: /data
    service: shop
    policies: {transform: {request: [{json: {set: {/list: [[1, [x]], {a: b}]}}}]}}
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TITLE": "five $ ${x}", "TOKEN": "from-the-environment", "GATEWAY_PORT": "8123"}.items():
        monkeypatch.setenv(name, value)


def in_force(text: str, directory: Path) -> InForce:
    config = load_text(text, str(directory / "portico.yaml"), os.environ)
    return InForce(config, History(directory / "history"))


@pytest.fixture
def there(tmp_path: Path) -> InForce:
    (tmp_path / "more.yaml").write_text(MORE)
    (tmp_path / "secret").write_text("what-the-file-holds\n")
    return in_force(TEXT, tmp_path)


def tried(there: InForce, document: dict[str, Any] | str, *, is_careful: bool = False) -> Proposed:
    is_json = not isinstance(document, str)
    sent = Sent(json.dumps(document) if is_json else str(document), is_json, is_careful)
    return propose(sent, there, there.known.document.filename, lambda config: config)


def changed(there: InForce) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(there.shown))
    return copy


def refused(there: InForce, document: dict[str, Any] | str) -> RefusedError:
    with pytest.raises(RefusedError) as error:
        tried(there, document)
    return error.value


def examples() -> list[str]:
    """Configurations as the documentation has them."""
    return [block.text for page in DOCS for block in blocks(page.read_text()) if block.language == "yaml"][::_EVERY]


def test_what_is_shown_means_what_is_in_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tested = 0
    for text in examples():
        for name in re.findall(r"\$\{([A-Z_0-9]+)\}", text):
            monkeypatch.setenv(name, "http://a-value.example" if "URL" in name else "v" * 40)
        try:
            there = in_force(text, tmp_path)
        except ConfigError:
            continue  # it is a part of one, or needs files of its own
        tested += 1
        assert tried(there, there.shown).is_same, text
        assert tried(there, there.masked or "").is_same, text
        assert tried(there, yaml_document(there.shown)).is_same, text
        assert in_force(tried(there, there.shown).text, tmp_path).shown == there.shown, text
    assert tested > 20


def test_the_document_is_resolved_and_holds_no_secret(there: InForce) -> None:
    shown = there.shown
    assert shown["gateway"]["title"] == "five $ $${x}"
    assert shown["gateway"]["port"] == 8123
    assert shown["gateway"]["limits"] == shown["gateway"]["limits"] | {"body_size": "1MiB", "header_count": 100}
    assert shown["services"]["bank"]["timeout"] == "30s"
    assert shown["services"]["more"]["retries"]["attempts"] == 2
    assert "include" not in shown
    assert shown["gateway"]["admin_token"] == "${TOKEN}"
    assert shown["policies"]["headers"]["request"]["set"]["X-Page"] == "${file:secret}"
    secrets = re.findall("token-of-ada|token-of-bob|from-the-environment|a-secret-of|what-the-file", json.dumps(shown))
    assert secrets == []


def test_what_comes_back_unchanged_is_the_same_for_readers_too(there: InForce) -> None:
    assert tried(there, there.shown, is_careful=True).is_same
    assert tried(there, there.masked or "", is_careful=True).is_same


def test_a_change_of_one_value_is_all_that_changes_in_the_file(there: InForce) -> None:
    document = changed(there)
    document["services"]["shop"]["timeout"] = "31s"
    proposed = tried(there, document)
    assert [change.what for change in proposed.plan.changes] == ["service shop"]
    before, after = load(TEXT), load(proposed.text)
    before["services"]["shop"]["timeout"] = "31s"
    assert after == before, "variables, files and what is included stay as they are written, defaults are left out"
    assert "token-of-ada" in proposed.text


def load(text: str) -> Any:
    """What is written, variables as variables."""
    return raw_data(parse_document(text, ""))


def test_what_other_files_hold_is_changed_there(there: InForce) -> None:
    document = changed(there)
    document["services"]["more"]["timeout"] = 3
    assert "more.yaml:2:3: services.more: is written in" in refused(there, document).detail
    document = changed(there)
    del document["services"]["more"], document["routes"][-1]
    assert "more.yaml" in refused(there, document).detail
    assert refused(there, document).more["problems"][0]["line"] == 2


def test_a_document_that_says_what_it_includes_is_the_file_itself(there: InForce) -> None:
    proposed = tried(there, {"include": [], "services": {"only": {"url": "http://localhost:5"}}})
    assert set(proposed.config.services) == {"only"}


def test_a_new_route_before_others_moves_nothing(there: InForce) -> None:
    document = changed(there)
    document["routes"].insert(0, {"path": "/new", "service": "bank"})
    assert [(change.kind, change.what) for change in tried(there, document).plan.changes] == [("added", "route bank")]


def test_lists_in_lists_are_kept(there: InForce) -> None:
    document = changed(there)
    document["routes"][2]["policies"]["transform"]["request"][0]["json"]["set"]["/list"][0][1] = ["x", "y: [,]"]
    again = in_force(tried(there, document).text, there.config.directory)
    assert again.shown["routes"][2] == document["routes"][2]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not valid JSON"),
        ("[]", "expected keys and values at the top"),
        ('{"services": {}, "services": {}}', 'the key "services" is written twice'),
        ('{"services": NaN}', "NaN is no number"),
        ("[" * 100_000, "nested too deep"),
        ('{"a":' * 70 + "1" + "}" * 70, "nested more than 64 deep"),
        ('{"services": {"a": {"url": "http://h:1", "timeot": 3}}}', ":1:42: services.a.timeot: unknown key"),
        ('{"gateway": {"title": "\\ud800"}}', "not valid YAML"),
    ],
)
def test_json_that_is_wrong_is_refused_with_its_place(there: InForce, text: str, said: str) -> None:
    with pytest.raises(RefusedError) as error:
        propose(Sent(text, is_json=True), there, "portico.yaml", lambda config: config)
    assert error.value.status == 422
    assert said in error.value.detail
    assert error.value.more["problems"]


def test_json_as_programs_write_it(there: InForce) -> None:
    document = changed(there)
    document["routes"][1]["respond"]["body"] = "\N{SNAKE} / \\ud83d \t\u0085"
    text = json.dumps(document, indent="\t").replace("/", "\\/")
    proposed = propose(Sent(text, is_json=True), there, there.known.document.filename, lambda config: config)
    route = proposed.config.routes[1]
    assert route.respond is not None
    assert route.respond.body == "\N{SNAKE} / \\ud83d \t\u0085"


@pytest.mark.parametrize(
    "text",
    [
        "&a [*a]",
        "services: {a: &a {b: *a}}",
        "\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))]),
        "- " * 5000 + "x",
        "services: {a: {url: 'http://h:1'}}\n---\nservices: {}",
        "services: !!python/object/apply:os.system ['true']",
        "",
        "# nothing",
    ],
)
def test_hostile_yaml_is_refused(there: InForce, text: str) -> None:
    assert refused(there, text).status == 422


def test_an_included_file_that_has_been_changed_is_not_taken_over_by_the_way(there: InForce) -> None:
    (there.config.directory / "more.yaml").write_text(MORE.replace("localhost:9", "localhost:8"))
    error = refused(there, TEXT.replace("30s", "31s"))
    assert error.status == 412
    assert "more.yaml has been changed on disk" in error.detail


def test_tags_change_with_secrets_and_say_nothing_of_them(there: InForce, tmp_path: Path) -> None:
    other = InForce(in_force(TEXT.replace("token-of-ada", "token-of-eve"), tmp_path).config, there.history)
    again = InForce(in_force(TEXT, tmp_path).config, there.history)
    assert again.tags == there.tags
    assert set(other.tags).isdisjoint(there.tags)
    elsewhere = InForce(there.config, History(tmp_path / "elsewhere"))
    assert set(elsewhere.tags).isdisjoint(there.tags), "they are made with a key"


def test_a_configuration_without_a_file_is_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GATEWAY_PORT")
    config: Config = load_config(None, {})
    there = InForce(config, History(tmp_path))
    assert there.masked is None
    assert set(there.shown["services"]) == set(config.services)
