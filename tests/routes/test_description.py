"""What the routes say about themselves, and that they keep to it."""

from __future__ import annotations

import pytest
from dragtext.extension import schema
from dragtext.sdk.drag import METHODS

routes = pytest.importorskip("dragtext.extension.routes")


def test_what_methods_and_settings_there_are(client):
    assert set(client.get("/dragtext/v1/methods").json()) == set(METHODS)
    described = client.get("/dragtext/v1/settings").json()
    assert described["properties"]["strength"]["maximum"] == 1
    assert client.get("/dragtext/v1/health").json()["host"] == "test"
    document = client.get("/openapi.json").json()
    assert "example" in document["paths"]["/dragtext/v1/edits"]["post"]["requestBody"]["content"]["application/json"]


def test_adding_the_routes_twice_changes_nothing(client):
    before = len(client.app.routes)
    routes.add_routes(client.app, client.jobs)
    assert len(client.app.routes) == before


def test_the_document_describes_what_is_answered(client):
    schemathesis = pytest.importorskip("schemathesis")
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    document = schemathesis.openapi.from_asgi("/openapi.json", client.app)
    count = 0
    for result in document.get_all_operations():
        operation = result.ok()
        for case in examples(operation, 12):
            # That a text is a picture in base64 no schema can say.
            case.call_and_validate(excluded_checks=[positive_data_acceptance])
            count += 1
    assert count > 50


def examples(operation, number: int):
    from hypothesis import HealthCheck, Phase, given, settings

    found = []

    @settings(
        max_examples=number,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    @given(case=operation.as_strategy())
    def collect(case):
        found.append(case)

    collect()
    return found


def test_the_description_in_the_older_dialect():
    newer = {
        "a": {"type": ["number", "null"], "exclusiveMinimum": 0},
        "b": [{"anyOf": [{"type": "object"}, {"type": "null"}]}],
        "c": {"exclusiveMinimum": 1, "type": "number"},
    }
    assert schema.in_dialect(newer, "3.1.0") == newer
    assert schema.in_dialect(newer, "3.0.2") == {
        "a": {"type": "number", "nullable": True, "minimum": 0},
        "b": [{"type": "object", "nullable": True}],
        "c": {"type": "number", "minimum": 1},
    }
