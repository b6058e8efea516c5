import collections
import json
import os
import pathlib

import pytest

import openapi
from manus import BINARY, Manus, check_no_reports


def pytest_sessionstart(session):
    if not BINARY.exists():
        pytest.exit(f"{BINARY} is not built: run make", 2)


def is_worker(config):
    return hasattr(config, "workerinput")


def pytest_sessionfinish(session):
    """For the last look at all routes, where parts of the suite run beside each other."""
    if folder := os.environ.get("MANUS_SEEN"):
        (pathlib.Path(folder) / f"{os.getpid()}.json").write_text(json.dumps(sorted(openapi.SEEN)))
    if "MANUS_AGAIN" in os.environ and not is_worker(session.config) and session.exitstatus == pytest.ExitCode.TESTS_FAILED:
        put_off(session, pathlib.Path(os.environ["MANUS_AGAIN"]))


def put_off(session, path):
    """A few tests that failed beside others are left to a run by themselves, and listed in `path` for it. What a
    sanitizer reported, and a server that ended badly, has failed for good."""
    stats = session.config.pluginmanager.get_plugin("terminalreporter").stats
    failed = stats.get("failed", []) + stats.get("error", [])
    if failed and len(failed) <= 8 and all(one.when == "call" and "Sanitizer" not in one.longreprtext for one in failed):
        with path.open("a") as again:
            again.writelines(f"{one.nodeid}\n" for one in failed)
        session.exitstatus = pytest.ExitCode.OK


def pytest_terminal_summary(terminalreporter):
    """Where the time goes: tests and seconds of each folder."""
    tests, seconds = collections.Counter(), collections.Counter()
    for report in (one for reports in terminalreporter.stats.values() for one in reports if hasattr(one, "duration")):
        folder = pathlib.PurePath(report.nodeid.partition("::")[0]).parent.name
        tests[folder] += report.when == "call"
        seconds[folder] += report.duration
    if len(tests) > 1:
        terminalreporter.section("tests and seconds by folder")
        for folder, count in sorted(tests.items()):
            terminalreporter.line(f"{folder:10} {count:6} {seconds[folder]:8.1f}")


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
