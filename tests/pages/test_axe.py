"""axe finds nothing on any page: in both languages, dark and light, wide and at 320 pixels."""
import pytest

from browser import Browser
from manus import ROOT

AXE = ROOT / "build-tools" / "axe.min.js"
PAGES = ["/?lang={}", "/verify-email?lang={}", "/verify-email?lang={}#some.1.token", "/verify-email?lang={}#forgotten", "/nowhere?lang={}"]
PERSON = {"fullname": "Ann Lee", "email": "ann@example.com", "password": "correct horse"}


@pytest.fixture
def browser(tmp_path):
    one = Browser(tmp_path)
    yield one
    one.close()


def look(browser, scheme, width):
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)


def faults(browser):
    """What axe finds, each with the first element that has it."""
    assert AXE.is_file(), "axe-core is missing: run scripts/test-tools"
    browser.run(AXE.read_text() + ";0")
    return browser.run("axe.run().then(({violations}) => violations.map(({id, nodes}) => `${id}: ${nodes[0].target} ${nodes[0].failureSummary}`))")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language, width", [("en", 1000), ("ar", 1000), ("en", 320), ("ar", 320)])
def test_the_pages_of_people_have_no_fault(start, browser, language, width, scheme):
    manus = start(EMAIL_VERIFICATION="true", PASSWORD_MIN_LENGTH="8")
    look(browser, scheme, width)
    for page in PAGES:
        browser.open(manus.base + page.format(language))
        if page == PAGES[0]:
            browser.wait("document.getElementById('status').innerText !== '…'")
        assert faults(browser) == [], page
    browser.open(manus.base + PAGES[0].format(language))
    browser.fill("#login", email="ann@example.com", password="a wrong one")
    browser.wait("document.querySelector('#login [role=alert]').innerText")
    assert faults(browser) == []
    browser.fill("#register", **PERSON)
    browser.wait("document.getElementById('me-email').checkVisibility()")
    browser.fill("#confirm", verification_code="000000")
    browser.wait("document.getElementById('outcome').innerText")
    assert faults(browser) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_docs_have_no_fault(manus, browser, scheme):
    look(browser, scheme, 1000)
    browser.open(manus.base + "/docs")
    browser.wait("document.querySelector('.opblock') && document.querySelector('.models')")
    assert faults(browser) == []
    browser.click(".opblock-post .opblock-summary-control")
    browser.wait("document.querySelector('.opblock-body .microlight')")
    assert faults(browser) == []
