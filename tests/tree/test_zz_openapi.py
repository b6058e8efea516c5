"""The last of the suite: by now every route of the document has answered."""
import json
import os
import pathlib

import pytest

import openapi
from manus import BINARY


def test_every_route_is_exercised(request):
    folder = os.environ.get("MANUS_SEEN")
    if not folder and not any(item.path.parent.name == "api" for item in request.session.items):
        pytest.skip("tests/api was not asked for: run the whole suite")
    seen = {tuple(one) for path in pathlib.Path(folder).glob("*.json") for one in json.loads(path.read_text())} if folder else set()
    every = {(method, path) for method, _, path, _ in openapi.operations(BINARY)}
    assert every - openapi.SEEN - seen == set()
