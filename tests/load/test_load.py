"""Many clients at once, doing all that the program offers: for ThreadSanitizer, and for the sum of it."""
import concurrent.futures
import signal
import socket
import threading
import time

from manus import API, SLOW, Manus

SECONDS = 4


def test_a_mixed_load_is_answered_without_a_failure_while_settings_are_read_again(start):
    manus = start(THREADS=2)
    accounts = [manus.register() for _ in range(4)]
    ends = time.monotonic() + SECONDS
    statuses = {}
    lock = threading.Lock()

    def note(status):
        with lock:
            statuses[status] = statuses.get(status, 0) + 1

    def client(number):
        mine = Manus(manus.folder)
        mine.base = manus.base
        account = accounts[number % len(accounts)]
        while time.monotonic() < ends:
            data = mine.post(f"{API}/auth/login", {key: account[key] for key in ("email", "password")})
            note(data.status_code)
            assert data.status_code == 200, data.text
            tokens = data.json()["data"]
            for reply in (mine.me(tokens["access_token"]), mine.refresh(tokens["refresh_token"]),
                          mine.get(f"{API}/health"), mine.get(f"{API}/ready"), mine.get("/"),
                          mine.post(f"{API}/auth/logout", token=tokens["access_token"])):
                note(reply.status_code)
            assert mine.me(tokens["access_token"]).status_code == 401
        mine.http.close()

    def rude_client():
        """Leaves in the middle of what it asked for."""
        while time.monotonic() < ends:
            with socket.create_connection(("127.0.0.1", manus.port), 10) as s:
                s.sendall(b"POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Length: 48\r\n\r\n"
                          b'{"email":"a@example.com","password":"password1"}')
            time.sleep(0.01 * SLOW)

    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        clients = [pool.submit(client, i) for i in range(6)] + [pool.submit(rude_client) for _ in range(2)]
        while time.monotonic() < ends:
            manus.process.send_signal(signal.SIGHUP)
            time.sleep(0.2 * SLOW)
        for one in clients:
            one.result(60 * SLOW)
    assert set(statuses) == {200}
    assert statuses[200] > 50


def test_a_burst_of_64_logins_is_answered_without_a_503(start):
    # The hash as it is by default: the burst must fit into what a lane lets wait.
    manus = start(PASSWORD_ARGON2_MEMORY_KIB=19456 if SLOW == 1 else 8192, PASSWORD_ARGON2_PASSES=2 if SLOW == 1 else 1)
    account = manus.register()
    body = ('{"email":"%s","password":"%s"}' % (account["email"], account["password"])).encode()
    request = (b"POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
               b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    sockets = [manus.connect(30) for _ in range(64)]
    for s in sockets:
        s.sendall(request)
    assert [s.recv(65536).split()[1] for s in sockets] == [b"200"] * 64
    for s in sockets:
        s.close()
