"""Forms checked against a document, of which a FastAPI service is the judge as well."""

from __future__ import annotations

from typing import Any

import pytest

from policies.test_validate import FORM, JSON, Checked, compared

pytest.importorskip("python_multipart", reason="FastAPI reads no forms without python-multipart")

from policies.validated_forms import app

CHECKED = Checked(app.openapi())


@pytest.mark.parametrize(
    ("path", "fields", "body"),
    [
        ("/form", [FORM], b"user=a"),
        ("/form", [("Content-Type", "Application/X-WWW-Form-Urlencoded; charset=utf-8")], b"user=a"),
        ("/form", [FORM], b"user=a&age=5&tags=1&tags=2"),
        ("/form", [FORM], b"user=a&age="),
        ("/form", [FORM], b"user="),
        ("/form", [FORM], b"user=a&age=x"),
        ("/form", [FORM], b"age=1"),
        ("/form", [FORM], b"user=a&tags=x"),
        ("/form", [FORM], b"user=a&user=b&other=1"),
        ("/form", [FORM], b"user=%ff"),
        ("/form", [JSON], b'{"user": "a"}'),
        ("/model-form", [FORM], b"user=a&tags=x&tags=y"),
        ("/model-form", [FORM], b"user=a&age=5.0"),
        ("/model-form", [FORM], b"age=5"),
        ("/optional-form", [JSON], b'{"user": "a"}'),
        ("/optional-form", [], b""),
        ("/optional-form", [("Content-Type", "text/plain")], b"x"),
    ],
)
def test_no_form_is_refused_that_the_service_takes(path: str, fields: Any, body: bytes) -> None:
    compared("POST", path, fields, body, CHECKED, app)


PARTS = (
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n'
    b'--x\r\nContent-Disposition: form-data; name="user"\r\n\r\na\r\n--x--\r\n'
)


@pytest.mark.parametrize("path", ["/upload", "/bytes", "/form", "/model-form", "/optional-form"])
def test_multipart_passes_wherever_forms_do(path: str) -> None:
    status, answer = compared("POST", path, [("Content-Type", "multipart/form-data; boundary=x")], PARTS, CHECKED, app)
    assert (status, answer) == (200, None)
