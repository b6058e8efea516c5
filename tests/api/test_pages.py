"""The pages: there, fast, in the reader's language, and safe."""
import re

import pytest


def test_the_home_page_says_what_this_is_and_links_work(manus):
    reply = manus.get("/")
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "<title>manus" in reply.text
    links = set(re.findall(r'(?:href|src)="(/[^"]*)"', reply.text))
    assert {"/docs", "/assets/style.css", "/assets/home.js"} <= links
    assert '"#sign-up"' in reply.text and 'id="sign-up"' in reply.text
    for link in links:
        assert manus.get(link.split("#")[0]).status_code == 200, link


@pytest.mark.parametrize("accepted, query, language", [
    ("ar", "", "ar"), ("ar-EG,en;q=0.5", "", "ar"), ("en,ar", "", "en"), ("fr, ar;q=0.8", "", "ar"), ("", "", "en"),
    ("arx", "", "en"), ("en", "?lang=ar", "ar"), ("ar", "?lang=en", "en"), ("*", "", "en")])
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
    for path in ("/", "/assets/home.js", "/assets/style.css", "/docs"):
        tag = manus.get(path).headers["ETag"]
        reply = manus.get(path, headers={"If-None-Match": tag})
        assert (reply.status_code, reply.content, reply.headers["ETag"]) == (304, b"", tag)
        assert manus.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


def test_the_docs_list_every_route(manus):
    page = manus.get("/docs").text
    for path in ("/api/v1/auth/register", "/api/v1/health", "/api/v1/auth/refresh"):
        assert f"<code>{path}</code>" in page


def test_the_source_is_linked_where_the_setting_says(start):
    page = start(SOURCE_URL="https://example.com/x?a=1&b=2").get("/").text
    assert 'href="https://example.com/x?a=1&amp;b=2"' in page
