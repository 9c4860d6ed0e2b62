"""The OpenAPI 3.1 document, made from the table of endpoints."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from lossloop.app.http.endpoints import ARROW, JSON, Endpoint
from lossloop.app.http.inference.endpoints import InferenceEndpoint
from lossloop.app.http.inference.reading import InferBody

PROBLEM = {
    "type": "object",
    "description": "Problem details, RFC 9457. `errors` lists bad rows; the good ones were taken.",
    "properties": {
        "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
        "detail": {"type": "string"}, "field": {"type": "string"}, "errors": {"type": "array"},
    },
}  # fmt: skip


def document(endpoints: Sequence[Endpoint], inference: Sequence[InferenceEndpoint] = ()) -> dict[str, Any]:
    """Describe every endpoint."""
    bodies: list[type[Any]] = [endpoint.body for endpoint in endpoints if endpoint.body is not None]
    bodies += [each.body for each in inference if each.body is not None]
    _, schemas = msgspec.json.schema_components(bodies, ref_template="#/components/schemas/{name}")
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(_plain(endpoint.path), {})[endpoint.method.lower()] = _operation(endpoint)
    for each in inference:
        paths.setdefault(each.path, {})[each.method.lower()] = _inference_operation(each)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Lossloop", "version": "1"},
        "paths": paths,
        "components": {
            "schemas": {**schemas, "Problem": PROBLEM, "InferenceError": INFERENCE_ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


INFERENCE_ERROR = {
    "type": "object",
    "description": "What went wrong, as the Open Inference Protocol says it.",
    "properties": {"error": {"type": "string"}},
    "required": ["error"],
}


def _inference_operation(endpoint: InferenceEndpoint) -> dict[str, Any]:
    names = re.findall(r"{(\w+)}", endpoint.path)
    error = {JSON: {"schema": {"$ref": "#/components/schemas/InferenceError"}}}
    shape = "array" if endpoint.path.endswith("/index") else "object"
    operation: dict[str, Any] = {
        "summary": endpoint.summary,
        "operationId": endpoint.handler.__name__.strip("_") + ("_of_version" if "version" in names else ""),
        "security": [] if endpoint.open else [{"token": []}],
        "parameters": [_parameter(name) for name in names],
        "responses": {
            "200": {"description": "Done", "content": {JSON: {"schema": {"type": shape}}}},
            "default": {"description": "A failure", "content": error},
        },
    }
    if endpoint.body is not None:
        schema = {"$ref": f"#/components/schemas/{endpoint.body.__name__}"}
        operation["requestBody"] = {
            "required": endpoint.body is InferBody,
            "content": {JSON: {"schema": schema}},
        }
    return operation


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    shape = "object" if endpoint.answers == JSON else "string"
    operation: dict[str, Any] = {
        "summary": endpoint.summary,
        "operationId": endpoint.handler.__name__.strip("_"),
        "security": [] if endpoint.open else [{"token": []}],
        "parameters": [_parameter(name) for name in re.findall(r"{(\w+)(?::\w+)?}", endpoint.path)],
        "responses": {
            "200": {"description": "Done", "content": {endpoint.answers: {"schema": {"type": shape}}}},
            "default": {"description": "A problem", "content": problem},
        },
    }
    if endpoint.body is not None:
        schema = {"$ref": f"#/components/schemas/{endpoint.body.__name__}"}
        content: dict[str, Any] = {"application/json": {"schema": schema}}
        if endpoint.stream is not None:
            content[ARROW] = {"schema": {"type": "string", "format": "binary"}}
            operation["parameters"].append(_MODEL)
        operation["requestBody"] = {"required": True, "content": content}
    return operation


_MODEL = {
    "name": "model",
    "in": "query",
    "required": False,
    "description": "The model of an Arrow stream whose schema does not name it.",
    "schema": {"type": "string"},
}


def _plain(path: str) -> str:
    return re.sub(r":\w+}", "}", path)


def _parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
