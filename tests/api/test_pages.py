"""The pages: there, fast, in the reader's language, and safe."""
import re
import signal

import pytest


def test_the_home_page_says_what_this_is_and_links_work(manus):
    reply = manus.get("/")
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "<title>manus" in reply.text
    links = set(re.findall(r'(?:href|src)="(/[^"]*)"', reply.text))
    assert {"/docs", "/manus/assets/style.css", "/manus/assets/home.js"} <= links
    assert '"#sign-up"' in reply.text and 'id="sign-up"' in reply.text
    for link in links:
        assert manus.get(link.split("#")[0]).status_code == 200, link


@pytest.mark.parametrize("accepted, query, language", [
    ("ar", "", "ar"), ("ar-EG,en;q=0.5", "", "ar"), ("en,ar", "", "en"), ("fr, ar;q=0.8", "", "ar"), ("", "", "en"),
    ("arx", "", "en"), ("en", "?lang=ar", "ar"), ("ar", "?lang=en", "en"), ("*", "", "en"),
    ("en;q=0.2, ar;q=0.9", "", "ar"), ("ar;q=0, en;q=0.1", "", "en"), ("ar; q=0.500,en;Q=0.501", "", "en"), ("fr,ar;q=0.3,en;q=0.3", "", "ar")])
def test_the_home_page_is_in_the_readers_language(manus, accepted, query, language):
    reply = manus.get(f"/{query}", headers={"Accept-Language": accepted})
    assert f'<html lang="{language}" dir="{"rtl" if language == "ar" else "ltr"}">' in reply.text
    assert "Accept-Language" in reply.headers["Vary"]


def test_pages_run_nothing_but_their_own_scripts(manus):
    for path in ("/", "/?lang=ar", "/docs"):
        reply = manus.get(path)
        policy = reply.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
        assert not re.search(r"<script>|\son\w+=|style=|javascript:|https?://(?!www\.w3)", reply.text)


def test_an_unchanged_page_is_not_sent_again(manus):
    for path in ("/", "/manus/assets/home.js", "/manus/assets/style.css", "/docs"):
        tag = manus.get(path).headers["ETag"]
        reply = manus.get(path, headers={"If-None-Match": tag})
        assert (reply.status_code, reply.content, reply.headers["ETag"]) == (304, b"", tag)
        assert manus.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


def test_the_docs_show_the_document_by_a_viewer_that_is_served_here(manus):
    page = manus.get("/docs").text
    for link in re.findall(r'(?:href|src)="(/[^"#]*)', page):
        assert manus.get(link).status_code == 200, link
    assert "/manus/assets/swagger-ui.js" in page and "url: \"/api/v1/openapi.json\"" in manus.get("/manus/assets/docs.js").text
    assert 'id="source"' in page and "Apache License" in manus.get("/manus/assets/swagger-ui.LICENSE").text


@pytest.mark.parametrize("accepted, encoding", [("gzip", "gzip"), ("br, gzip;q=0.5", "gzip"), ("gzip;q=0", None), ("identity", None), ("", None),
                                                ("xgzip", None), ("gzipx", None), ("deflate", None), ("GZIP", "gzip")])
def test_what_is_kept_compressed_is_sent_to_everybody(manus, accepted, encoding):
    reply = manus.get("/manus/assets/swagger-ui.css", headers={"Accept-Encoding": accepted})
    assert reply.status_code == 200 and reply.text.startswith(".swagger-ui")
    assert reply.headers.get("Content-Encoding") == encoding and "Accept-Encoding" in reply.headers["Vary"]
    assert manus.request("HEAD", "/manus/assets/swagger-ui.css", headers={"Accept-Encoding": accepted}).headers["Content-Length"] == \
        reply.headers["Content-Length"]


def test_the_source_is_linked_where_the_setting_says(start):
    manus = start(SOURCE_URL="https://example.com/x?a=1&b=2")
    for path in ("/", "/?lang=ar", "/docs"):
        assert 'href="https://example.com/x?a=1&amp;b=2"' in manus.get(path).text


def test_without_a_source_nothing_claims_to_lead_to_it(manus):
    for path in ("/", "/docs"):
        assert ">Source<" not in manus.get(path).text and "{{" not in manus.get(path).text


def test_forms_ask_for_what_the_settings_ask_for_also_after_they_are_read_again(start, tmp_path):
    (tmp_path / ".env").write_text("PASSWORD_MIN_LENGTH=11\n")
    manus = start()
    for path in ("/", "/?lang=ar", "/verify-email"):
        assert 'minlength="11"' in manus.get(path).text
    (tmp_path / ".env").write_text("PASSWORD_MIN_LENGTH=12\n")
    manus.process.send_signal(signal.SIGHUP)
    manus.wait_for_log(lambda line: line["msg"] == "settings reloaded")
    assert 'minlength="12"' in manus.get("/").text


READER = {"Accept": "text/html,application/xhtml+xml;q=0.9"}


@pytest.mark.parametrize("language, text", [("en", "This page does not exist"), ("ar", "هذه الصفحة غير موجودة")])
def test_a_reader_of_a_page_that_is_not_there_is_shown_a_page(manus, language, text):
    reply = manus.get("/nowhere", headers={**READER, "Accept-Language": language})
    assert (reply.status_code, reply.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert text in reply.text and reply.headers["Cache-Control"] == "no-store" and "script-src 'self'" in reply.headers["Content-Security-Policy"]


@pytest.mark.parametrize("accept", ["text/html;freq=0", "TEXT/HTML", ", text/html;level=2;q=0.001", "a/b;q=0,text/html"])
def test_a_reader_is_known_by_the_weight_of_the_page_alone(manus, accept):
    assert manus.get("/nowhere", headers={"Accept": accept}).headers["Content-Type"] == "text/html; charset=utf-8"


def test_who_is_no_reader_gets_the_apis_404(manus):
    for path, headers in (("/nowhere", {}), ("/api/v1/nowhere", READER), ("/nowhere", {"Accept": "application/json"}),
                          ("/nowhere", {"Accept": "text/html;q=0, application/json"}), ("/nowhere", {"Accept": "text/htmlx"}), ("/nowhere", {"Accept": "text/html;level=1 ; Q=0.0"}), ("/nowhere", {"Accept": ""})):
        assert manus.get(path, headers=headers).json() == {"code": 404, "msg": "Not Found", "data": None}
    assert manus.request("POST", "/nowhere", headers=READER).headers["Content-Type"] == "application/json"
    assert manus.get("/api/v1/auth/logout", headers=READER).status_code == 405
