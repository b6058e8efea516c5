"""The pages in a real browser, under their own Content-Security-Policy."""
import shutil
import subprocess

import pytest

from manus import API, SLOW


def dom(manus, path, tmp_path):
    """The document after its scripts have run; fails if the browser complains."""
    browser = shutil.which("chromium")
    assert browser, "chromium is missing: run scripts/deps test"
    done = subprocess.run([browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={tmp_path}/browser",
                           "--enable-logging=stderr", "--virtual-time-budget=8000", "--dump-dom", manus.base + path],
                          capture_output=True, text=True, timeout=120 * SLOW)
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert (done.returncode, complaints) == (0, [])
    return done.stdout


def test_the_docs_show_every_operation(manus, tmp_path):
    shown = dom(manus, "/docs", tmp_path)
    document = manus.get(f"{API}/openapi.json").json()
    for path, methods in document["paths"].items():
        assert f'data-path="{path}"' in shown, path
    assert shown.count('class="opblock-summary-method"') == sum(len(methods) for methods in document["paths"].values())


@pytest.mark.parametrize("language, ready", [("en", "All systems work"), ("ar", "كل شيء يعمل")])
def test_the_home_page_tells_the_status(manus, tmp_path, language, ready):
    assert ready in dom(manus, f"/?lang={language}", tmp_path)


def test_the_page_of_the_link_asks_for_a_click_and_without_a_link_for_the_code(manus, tmp_path):
    without = dom(manus, "/verify-email?lang=en", tmp_path)
    assert 'name="verification_code"' in without.split("<details")[0]
    with_token = dom(manus, "/verify-email?lang=en#some.1.token", tmp_path)
    assert 'name="verification_code"' not in with_token.split("<details")[0] and "<button>Confirm</button>" in with_token
