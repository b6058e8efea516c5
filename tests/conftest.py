import json
import os
import pathlib

import pytest

import openapi
from manus import BINARY, Manus, check_no_reports


def pytest_sessionstart(session):
    if not BINARY.exists():
        pytest.exit(f"{BINARY} is not built: run make", 2)


def pytest_sessionfinish(session):
    """For the last look at all routes, where parts of the suite run beside each other."""
    if folder := os.environ.get("MANUS_SEEN"):
        (pathlib.Path(folder) / f"{os.getpid()}.json").write_text(json.dumps(sorted(openapi.SEEN)))


@pytest.fixture
def start(tmp_path):
    """Starts servers with the given settings; ends them and checks how they ended."""
    started = []

    def start_one(folder=None, **settings):
        manus = Manus(folder or tmp_path, **settings).start()
        started.append(manus)
        return manus

    yield start_one
    for manus in started:
        if manus.process.poll() is None:
            assert manus.stop() == 0, manus.errors()
        check_no_reports(manus)


@pytest.fixture(scope="module")
def manus(tmp_path_factory):
    """One server for the tests of a module that do not end it."""
    one = Manus(tmp_path_factory.mktemp("manus")).start()
    yield one
    status = one.stop()
    check_no_reports(one)
    assert status == 0
