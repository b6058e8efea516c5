"""Replies against the OpenAPI document that the program prints."""
import functools
import json
import re
import subprocess

import jsonschema

SEEN = set()  # (method, path of the table) of every success


@functools.cache
def document(binary):
    return json.loads(subprocess.run([binary, "openapi"], capture_output=True, check=True, timeout=60).stdout)


@functools.cache
def operations(binary):
    """[(method, regular expression, path, operation)], fixed paths before those with parameters."""
    found = [(method.upper(), re.compile(re.sub(r"\{\w+\}", "[^/?]+", path) + r"(\?|$)"), path, operation)
             for path, methods in document(binary)["paths"].items() for method, operation in methods.items()]
    return sorted(found, key=lambda one: "{" in one[2])


@functools.cache
def validator(binary, pointer):
    """Of the schema there; a pointer, since schemas cannot be keys of a cache."""
    return jsonschema.Draft202012Validator({"$ref": pointer, **{"components": document(binary)["components"], "paths": document(binary)["paths"]}})


def pointer_to(path, method, status, media):
    escape = lambda part: part.replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D").replace(" ", "%20")
    return "#/" + "/".join(escape(part) for part in ("paths", path, method.lower(), "responses", status, "content", media, "schema"))


def check(binary, method, target, reply):
    """Fails if the document does not allow the reply. What is no part of the API is not looked at."""
    for one, pattern, path, operation in operations(binary):
        if one == method and pattern.match(target):
            break
    else:
        return
    if reply.status_code == 200:
        SEEN.add((method, path))
    status = str(reply.status_code) if str(reply.status_code) in operation["responses"] else "default"
    if reply.status_code == 304:
        assert reply.content == b""
        return
    assert status != "default" or reply.status_code >= 400, f"{method} {path} may not answer {reply.status_code}"
    (media, content), = operation["responses"][status]["content"].items()
    assert reply.headers["Content-Type"] == media, f"{method} {path} says {reply.headers['Content-Type']}"
    if media == "application/json":
        errors = sorted(validator(binary, pointer_to(path, method, status, media)).iter_errors(reply.json()), key=str)
        assert not errors, f"{method} {path} {reply.status_code}: {errors[0].message} at {list(errors[0].absolute_path)}"
