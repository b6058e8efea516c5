"""The first path of a person: sign up, confirm the address, log in, see oneself; in a real browser, in both languages."""
import pathlib
import re

import pytest

from browser import Browser
from manus import API

PERSON = {"fullname": "Ann Lee", "email": "ann@example.com", "password": "correct horse"}
ENTRY = {name: PERSON[name] for name in ("email", "password")}


@pytest.fixture
def browser(tmp_path):
    one = Browser(tmp_path)
    yield one
    complaints = one.complaints
    one.close()
    assert complaints == []


@pytest.fixture
def confirming(start):
    return start(EMAIL_VERIFICATION="true", PASSWORD_MIN_LENGTH="8", PASSWORD_COMMON="refuse")


def mail_of(manus):
    """The log's line of the first mail, and the code in its file."""
    line = manus.wait_for_log(lambda line: line["msg"].startswith("no mail server is configured"))
    return line["link"], re.search(r"^(\d{6})$", pathlib.Path(line["path"]).read_text(encoding="utf-8"), re.M)[1]


def test_sign_up_confirm_by_the_code_log_out_log_in_and_see_oneself(confirming, browser):
    browser.open(confirming.base + "/?lang=en")
    browser.fill("#register", **PERSON)
    browser.shows("Your account")
    assert browser.text("#me-confirmed") == "not yet" and not browser.is_seen("#register")
    browser.fill("#confirm", verification_code=mail_of(confirming)[1])
    browser.wait("document.getElementById('me-confirmed').innerText === 'yes'")
    assert not browser.is_seen("#confirm") and "Your address is confirmed." in browser.text("#outcome")
    browser.click("#logout")
    browser.wait("document.getElementById('login').checkVisibility()")
    browser.fill("#login", **ENTRY)
    browser.shows("Your account")
    assert [browser.text(f"#me-{what}") for what in ("fullname", "email", "role", "confirmed")] == ["Ann Lee", "ann@example.com", "user", "yes"]


@pytest.mark.parametrize("way", ["link", "code"])
def test_the_page_of_the_link_confirms_by_the_link_and_without_one_by_the_code(confirming, browser, way):
    account = confirming.register(**PERSON)
    link, code = mail_of(confirming)
    if way == "link":
        browser.open(link)
        assert not browser.is_seen("#form [name=email]")
        browser.fill("#form", password=PERSON["password"])
    else:
        browser.open(confirming.base + "/verify-email?lang=en")
        browser.fill("#form", email=PERSON["email"], verification_code=code, password=PERSON["password"])
    browser.shows("Your address is confirmed.")
    assert browser.is_seen("#next a")
    assert confirming.get(f"{API}/auth/preferences", account["access_token"]).json()["data"]["email_verified"] is True


def test_a_forgotten_password_is_chosen_anew_from_the_home_page(confirming, browser):
    confirming.register(**PERSON)
    browser.open(confirming.base + "/?lang=en")
    browser.click(".passwords a")
    browser.wait("document.readyState === 'complete' && document.getElementById('ask')?.checkVisibility()")
    browser.fill("#ask", email=PERSON["email"])
    browser.wait("document.getElementById('reset').checkVisibility()")
    path = confirming.wait_for_log(lambda line: "path" in line and line.get("link") is None)["path"]
    code = re.search(r"^(\d{6})$", pathlib.Path(path).read_text(encoding="utf-8"), re.M)[1]
    browser.fill("#reset", verification_code=code, new_password="another horse")
    browser.shows("Log in with the new password.")
    assert confirming.post(f"{API}/auth/login", {"email": PERSON["email"], "password": "another horse"}).status_code == 200


@pytest.mark.parametrize("language, wrong, taken, common", [
    ("en", "The e-mail address or the password is wrong", "An account with this e-mail address already exists", "This password is one of the most common"),
    ("ar", "البريد الإلكتروني أو كلمة المرور غير صحيحة", "يوجد حساب بهذا البريد الإلكتروني", "كلمة المرور هذه من أكثر كلمات المرور شيوعًا")])
def test_refusals_are_told_in_the_language_of_the_page(confirming, browser, language, wrong, taken, common):
    confirming.register(**PERSON)
    browser.open(f"{confirming.base}/?lang={language}")
    browser.fill("#login", email="ann@example.com", password="a wrong one")
    browser.shows(wrong)
    browser.fill("#register", **PERSON)
    browser.shows(taken)
    browser.fill("#register", **{**PERSON, "email": "bob@example.com", "password": "password1"})
    browser.shows(common)


@pytest.mark.parametrize("language, told", [("en", r"Too many attempts: try again in \d+ (seconds?|minutes?)"),
                                            ("ar", r"محاولات كثيرة\. مدة الانتظار قبل المحاولة التالية: .+")])
def test_too_many_attempts_are_told_with_how_long_to_wait(start, browser, language, told):
    manus = start(RATE_LIMIT_ENABLED="true", RATE_LIMIT_AUTH_LOGIN="2/minute")
    browser.open(f"{manus.base}/?lang={language}")
    for _ in range(3):
        browser.run("document.querySelector('#login [role=alert]').textContent = ''")
        browser.fill("#login", email="ann@example.com", password="a wrong one")
        browser.wait("document.querySelector('#login [role=alert]').innerText")
    assert re.fullmatch(told, browser.text("#login [role=alert]"))


@pytest.mark.parametrize("language, told", [("en", "The server does not answer: check"), ("ar", "الخادم لا يستجيب: تحقق")])
def test_a_server_that_does_not_answer_is_told(start, browser, language, told):
    manus = start()
    browser.open(f"{manus.base}/?lang={language}")
    manus.stop()
    browser.fill("#login", email="ann@example.com", password="a wrong one")
    browser.shows(told)


def test_every_text_of_the_table_is_told_with_its_numbers(manus, browser):
    browser.open(manus.base + "/?lang=en")
    told = browser.run("""[
        [400, {msg: "Please wait 42 seconds before requesting a new verification code"}],
        [422, {detail: [{msg: "Value error, Password must be at least 12 characters long"}], msg: "x"}],
        [422, {detail: [{msg: "Value error, Runs must be from 1 to 1000"}]}],
        [400, {msg: "Invalid plan: gold 7"}], [400, {msg: "No Stripe customer found for user: a1"}],
        [418, {}], [502, {msg: "Use another card"}], [429, {message: "Too many requests. Please try again later.", retry_after: 3000}],
        [401, {detail: "Authentication required"}], [402, {code: 402, msg: "Your subscription is inactive (unpaid). Please subscribe to continue."}],
        [409, {msg: "constructor"}]].map(([status, body]) => explain(status, body))""")
    assert told == ["We mailed a code a moment ago. You can ask for another one in 42 seconds", "Password must be at least 12 characters long",
                    "Runs must be from 1 to 1000", "This plan does not exist", "You have not bought anything yet",
                    "The server gave an unexpected answer (418)", "Use another card", "Too many attempts: try again in 50 minutes",
                    "Log in first", "Your subscription is not active. Subscribe to continue.", "constructor"]


def test_where_nobody_registers_the_pages_do_not_ask_for_it(start, browser, tmp_path):
    manus = start(AUTH_PROVIDER="none")
    browser.open(manus.base + "/?lang=en")
    browser.shows("Your account")
    assert not browser.is_seen("#register") and not browser.is_seen("#login") and not browser.is_seen("#logout")


def test_where_one_account_is_set_the_page_asks_for_its_login_alone(start, browser):
    manus = start(AUTH_PROVIDER="local", LOCAL_AUTH_PASSWORD="correct horse battery")
    browser.open(manus.base + "/?lang=en")
    assert not browser.is_seen("#register") and not browser.is_seen(".passwords") and browser.is_seen("#login")
    browser.fill("#login", email="admin@example.com", password="correct horse battery")
    browser.shows("Your account")
    assert browser.text("#me-role") == "administrator"


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_docs_follow_the_colours_of_the_reader(manus, browser, scheme):
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.open(manus.base + "/docs")
    browser.wait("document.querySelector('.opblock')")
    brightness = """(at => { while (getComputedStyle(at).backgroundColor === 'rgba(0, 0, 0, 0)' && at.parentElement) at = at.parentElement;
        return getComputedStyle(at).backgroundColor.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0) / 3;
        })(document.querySelector('.swagger-ui .info'))"""
    assert (browser.run(brightness) < 80) == (scheme == "dark")
    colour = "getComputedStyle(document.querySelector('.swagger-ui .info .title')).color.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0) / 3"
    assert (browser.run(colour) > 150) == (scheme == "dark")


@pytest.mark.parametrize("language", ["en", "ar"])
@pytest.mark.parametrize("zoom", [1, 4])
def test_nothing_leaves_a_screen_of_320_pixels_however_long_a_name_is(confirming, browser, language, zoom):
    """At 400 % a window of 1280 pixels has as many."""
    browser.call("Emulation.setDeviceMetricsOverride", width=320, height=640 // zoom, deviceScaleFactor=zoom, mobile=False)
    for path in ("/nowhere", "/verify-email", "/"):
        browser.open(f"{confirming.base}{path}?lang={language}")
        assert browser.run("document.documentElement.scrollWidth <= innerWidth"), path
    person = {**PERSON, "fullname": "Ann" * 30, "email": f"{'a' * 60}@{'subdomain.' * 5}example.com"}
    browser.fill("#register", **person)
    browser.wait("document.getElementById('me-email').checkVisibility()")
    assert browser.text("#me-email") == person["email"] and browser.run("document.documentElement.scrollWidth <= innerWidth")


def test_an_address_stands_under_the_other_values_where_people_read_from_the_right(confirming, browser):
    browser.open(f"{confirming.base}/?lang=ar")
    browser.fill("#register", **PERSON)
    browser.wait("document.getElementById('me-email').checkVisibility()")
    assert len({browser.run(f"document.getElementById('me-{what}').getBoundingClientRect().right") for what in ("fullname", "email", "role", "confirmed")}) == 1


@pytest.mark.parametrize("language, told", [("en", "At least 8 characters"), ("ar", "8 أحرف على الأقل")])
def test_the_form_says_how_long_a_password_has_to_be(confirming, browser, language, told):
    browser.open(f"{confirming.base}/?lang={language}")
    assert browser.text("#password-hint") == told
    assert browser.run("document.querySelector('#register [name=password]').getAttribute('aria-describedby')") == "password-hint"
