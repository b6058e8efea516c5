import pytest

from stripe_mock import StripeMock
from world import World


@pytest.fixture
def world(tmp_path):
    with World(tmp_path) as one:
        yield one


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One for the tests of a module that leave Stripe honest."""
    with World(tmp_path_factory.mktemp("world")) as one:
        yield one


@pytest.fixture(scope="module")
def mock(tmp_path_factory):
    with StripeMock(tmp_path_factory.mktemp("mock")) as one:
        yield one
