"""The last of the suite: by now every route of the document has answered."""
import pytest

import openapi
from manus import BINARY


def test_every_route_is_exercised(request):
    if not any(item.path.parent.name == "api" for item in request.session.items):
        pytest.skip("tests/api was not asked for: run the whole suite")
    every = {(method, path) for method, _, path, _ in openapi.operations(BINARY)}
    assert every - openapi.SEEN == set()
