"""The mails that a server without a mail server writes to files."""
import email
import email.policy
import re
import sqlite3
import time

from manus import SLOW


def letters(manus, address):
    """To an address, oldest first."""
    paths = sorted((manus.settings["DATA_DIR"] / "outbox").glob("*.eml"), key=lambda path: int(path.stem))
    read = [email.message_from_bytes(path.read_bytes(), policy=email.policy.default) for path in paths]
    return [letter for letter in read if letter["To"] == address]


def letter_to(manus, address, subject=""):
    """The newest whose subject holds the words."""
    deadline = time.monotonic() + 10 * SLOW
    while not (found := [letter for letter in letters(manus, address) if subject in letter["Subject"]]):
        assert time.monotonic() < deadline, [letter["Subject"] for letter in letters(manus, address)]
        time.sleep(0.05)
    return found[-1]


def nobody_waits(manus):
    """Every mail was written."""
    deadline = time.monotonic() + 10 * SLOW
    while rows(manus, "SELECT 1 FROM mails"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def text_of(letter):
    return letter.get_body(("plain",)).get_content()


def code_in(letter):
    return re.search(r"^(\d{6})$", text_of(letter), re.M)[1]


def rows(manus, sql, *values):
    with sqlite3.connect(manus.settings["DATA_DIR"] / "manus.sqlite", timeout=10) as db:
        return db.execute(sql, values).fetchall()


def age(manus, seconds):
    """Makes every code older, so that nobody has to wait."""
    rows(manus, "UPDATE codes SET created_at = created_at - ?1, expires_at = expires_at - ?1", seconds * 1000)
