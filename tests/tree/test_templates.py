"""scripts/templates: a template that cannot be escaped safely, or a word that is missing, fails the build and names its line."""
import re
import subprocess

import pytest

from manus import ROOT

WORDS = "word\n    en: Word\n    ar: كلمة\n\nwith.hole\n    en: Hi {who}\n    ar: أهلًا {who}\n\nruns\n    en one: {n} run\n    en other: {n} runs\n" \
        + "".join(f"    ar {form}: {{n}}\n" for form in ("zero", "one", "two", "few", "many", "other"))
VALUES = "{{value text who}}\n{{value number count}}\n{{value flag yes}}\n{{value lines story}}\n"
USES = "{{who}}{{count:runs}}{{#if yes}}{{story}}{{/if}}{{words.word}}{{words.with.hole}}"


def compile_template(folder, template, words=WORDS, name="page.html"):
    (folder / "words.txt").write_text(words, encoding="utf-8")
    (folder / name).write_text(template, encoding="utf-8")
    return compile_files(folder, name)


def compile_files(folder, name="page.html"):
    return subprocess.run([ROOT / "scripts" / "templates", "out.h", "out.c", "words.txt", name], cwd=folder, capture_output=True, text=True)


def test_the_template_that_the_wrong_ones_are_made_of_is_right(tmp_path):
    done = compile_template(tmp_path, f"{VALUES}<p>{USES}</p>\n")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("wrong, why", [
    ("<p>{{words.nothing}}</p>", "has no word nothing"), ("<p>{{count:nothing}}</p>", "has no word nothing with plural forms"),
    ("<p>{{count:word}}</p>", "has no word word with plural forms"), ("<p>{{words.runs}}</p>", "has plural forms"), ("<p>{{who:runs}}</p>", "is no number"),
    ("<p>{{nothing}}</p>", "has no value nothing"), ("<p>{{#if nothing}}{{/if}}</p>", "has no value nothing"), ("<p>{{Who!}}</p>", "is no hole"),
    ("<p>{{who}</p>", "braces that are no hole"), ("<p>who}}</p>", "braces that are no hole"),
    ("<p title={{who}}></p>", "no quotes"), ("<p title=a{{who}}></p>", "no quotes"), ("<p {{who}}></p>", "inside a tag"),
    ("<p {{who}}='a'></p>", "inside a tag"),
    ("<p data-{{who}}='a'></p>", "inside a tag"), ("<p{{who}}></p>", "inside the name of a tag"), ("<{{who}}>", "opens no tag"),
    ("</{{who}}>", "in a comment"),
    ("<p onclick='{{who}}'></p>", "in onclick"), ("<p OnClick='f(\"{{count}}\")'></p>", "in onclick"), ("<p style='color:{{who}}'></p>", "in style"),
    ("<p id='{{who}}'></p>", "in id"), ("<iframe srcdoc='{{who}}'></iframe>", "in srcdoc"), ("<img srcset='{{who}}'>", "in srcset"),
    ("<script src='{{who}}'></script>", "in src"), ("<link href='{{who}}'>", "in href"), ("<base href='{{words.word}}'>", "in href"),
    ("<meta http-equiv='refresh' name='x' content='{{who}}'>", "in content"), ("<svg><a href='{{who}}'></a></svg>", "in href"),
    ("<svg>{{who}}</svg>", "inside of svg"),
    ("<a href='java{{who}}'></a>", "choose the scheme"), ("<a href='{{who}}{{who}}'></a>", "choose the scheme"),
    ("<a href='//{{who}}/'></a>", "choose the scheme"),
    ("<a href='https://{{who}}.example/'></a>", "choose the scheme"), ("<a href='/{{who}}/{{who}}'></a>", "choose the scheme"),
    ("<a href='{{count}}'></a>", "cannot be a URL"),
    ("<a href='{{#if yes}}/{{/if}}'></a>", "a condition in href"), ("<a href='/{{words.with.hole}}'></a>", "cannot stand in a URL"),
    ("<script>let a = {{who}};</script>", "in the code of a script"), ("<script type='module'>{{count}}</script>", "in the code of a script"),
    ("<script type='application/json'>{\"a\": \"{{who}}\"}</script>", "inside a string of JSON"), ("<style>{{who}}</style>", "inside of style"),
    ("<!-- {{who}} -->", "in a comment"), ("<!doctype {{who}}>", "nothing can be escaped"), ("<p title='{{who}}", ""),
    ("<p>&{{who}};</p>", "reference to a character"),
    ("<p class='a' class='{{who}}'></p>", "an attribute twice"), ("<p></p {{who}}>", "nothing can be escaped"),
    ("<p title='{{story}}'></p>", "several lines"), ("<title>{{story}}</title>", "several lines"), ("<p>a < b</p>", "opens no tag"),
    ("<p><b></p></b>", "does not close"), ("<p>", "does not close"), ("<p>{{#if yes}}</p>", ""), ("{{#if yes}}<p>{{/if}}</p>", "goes on in another one"),
    ("<p>{{/if}}</p>", "no {{#if}}"), ("<p>{{else}}</p>", "no {{#if}}"), ("<p>{{#if yes}}{{else}}{{else}}{{/if}}</p>", "no {{#if}}"),
    ("<p title='{{#if yes}}'>{{/if}}</p>", "goes on in another one")])
def test_a_hole_that_cannot_be_filled_safely_fails_with_its_line(tmp_path, wrong, why):
    done = compile_template(tmp_path, f"{VALUES}<div>\n{{{{#if yes}}}}\n<p>{USES}</p>\n{{{{/if}}}}\n\n{wrong}\n</div>\n")
    assert done.returncode == 1 and re.match(r"page\.html:(10|11|12): ", done.stderr) and why in done.stderr, done.stderr


@pytest.mark.parametrize("name", ["page", "page.b.html", "page.htm", "A.html", "my-page.html", "1.html", ".html"])
def test_a_template_whose_name_cannot_name_a_function_fails(tmp_path, name):
    done = compile_template(tmp_path, f"{VALUES}<p>{USES}</p>\n", name=name)
    assert done.returncode == 1 and done.stderr.startswith(f"{name}:1: a template is called "), done.stderr


@pytest.mark.parametrize("file, content, said", [
    ("page.html", b"<p>\n\xff</p>", "page.html:2: not UTF-8"), ("page.html", b"\xef\xbb\xbf<p></p>", "page.html:1: a byte order mark"), ("page.html", b"\xff\xfe<\0", "page.html:1: not UTF-8"),
    ("words.txt", b"a\n    en: b\n    ar: \xd9", "words.txt:3: not UTF-8"), ("words.txt", b"\xef\xbb\xbfa\n", "words.txt:1: a byte order mark"),
    ("page.html", None, "page.html: No such file"), ("words.txt", None, "words.txt: No such file"),
    ("page.html", b"{{value text int}}\n<p>{{int}}</p>", "page.html:1: int is a keyword of C"), ("words.txt", b"a\n    en: {for}\n    ar: {for}\n", "words.txt:2: for is a keyword of C")])
def test_a_file_that_cannot_be_read_fails_with_the_cause(tmp_path, file, content, said):
    (tmp_path / "words.txt").write_text(WORDS, encoding="utf-8")
    (tmp_path / "page.html").write_text("<p></p>", encoding="utf-8")
    (tmp_path / file).unlink() if content is None else (tmp_path / file).write_bytes(content)
    done = compile_files(tmp_path)
    assert done.returncode == 1 and done.stderr.startswith(said) and done.stderr.count("\n") == 1, done.stderr


def test_more_holes_than_can_be_told_apart_fail(tmp_path):
    done = compile_template(tmp_path, "{{value text a}}\n<p>" + "{{a}} " * 33000 + "</p>")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1) and "more holes than a template may have" in done.stderr, done.stderr[-300:]


def test_lines_may_end_as_on_windows(tmp_path):
    assert compile_template(tmp_path, f"{VALUES}<p>{USES}</p>\n".replace("\n", "\r\n"), WORDS.replace("\n", "\r\n")).returncode == 0


def test_an_element_that_stays_open_fails(tmp_path):
    assert "page.html:5: <p> is not closed" in compile_template(tmp_path, f"{VALUES}<p>{USES}").stderr


def test_a_value_that_nothing_uses_fails(tmp_path):
    assert "page.html:1: nothing uses the value more" in compile_template(tmp_path, "{{value text more}}\n" + VALUES + f"<p>{USES}</p>").stderr


@pytest.mark.parametrize("words, line, why", [
    ("word\n    en: Word\n", 1, "no text for ar"), ("runs\n    en one: a\n    en other: b\n    ar one: c\n", 1, "no text for ar zero"),
    ("a\n    en: b\n    ar: c\na\n", 4, "twice"), ("a\n    en: b\n    en: c\n", 3, "a second text"), ("a\n    fr: b\n", 2, "neither a key"),
    ("a\n    en two: b\n", 2, "neither a key"), ("# Words\n\nno key\n", 3, "neither a key"), ("a\n    en: {who}\n    ar: b\n", 1, "different holes"),
    ("a\n    en: {Who}\n    ar: {who}\n", 2, "is no hole"), ("a\n    en: b }\n    ar: c\n", 2, "a brace"),
    ("a\n    en: {n:b}\n    ar: {n:b}\n", 2, "no word with plural forms"),
    (WORDS + WORDS[WORDS.index("runs"):].replace("runs", "more").replace("{n} run\n", "{who}\n"), 19, "no hole but {n}"),
    (WORDS.replace("\nruns\n", "\nruns\n    en: a\n"), 9, "and a text without one"),
    (WORDS.replace("{who}", "{nobody}"), 6, "has no value nobody"), (WORDS.replace("runs\n", "walks\n", 1), 5, "has no word runs")])
def test_words_that_are_wrong_or_missing_fail_with_their_line(tmp_path, words, line, why):
    done = compile_template(tmp_path, f"{VALUES}<p>{USES}</p>\n", words)
    assert done.returncode == 1 and re.match(rf"(words\.txt|page\.html):{line}: ", done.stderr) and why in done.stderr, done.stderr


def test_every_word_is_used():
    """By a template, in the plural form of a number, or by C."""
    src = ROOT / "src"
    words = (src / "pages" / "words.txt").read_text(encoding="utf-8")
    templates = "".join(path.read_text(encoding="utf-8") for pattern in ("pages/*.html", "mail/*.html", "mail/*.txt") for path in src.glob(pattern))
    code = "".join(path.read_text(encoding="utf-8") for path in src.rglob("*.c"))

    def is_used(key):
        return f"{{words.{key}}}" in templates or f":{key}}}" in templates + words or f"words_{key.replace('.', '_')}(" in code

    keys = re.findall(r"^([a-z][a-z0-9_.]*)$", words, re.M)
    assert len(keys) > 40
    assert [key for key in keys if not is_used(key)] == []
