"""Laws of downloads from servers that mean harm, and of downloads that are killed, or two at once."""

import hashlib
import http.client
import io
import multiprocessing
import os
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from vg.data import download, web
from vg.data.download import RemoteFile, fetch

BODY = np.random.default_rng(0).bytes(600_000)
PATIENCE = 20  # seconds after which a test has failed


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Short of patience, and no waiting between attempts."""
    monkeypatch.setattr(download, "STALL", 0.2)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


class Server:
    """Answers each connection with what ``say`` yields for the request, until the other side hangs up."""

    def __init__(self, say: Callable[[str], Iterator[bytes]]):
        self.say, self.sent, self.requests, self.threads = say, 0, [], []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/file"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                self.threads.append(threading.Thread(target=self.answer, args=[connection], daemon=True))
                self.threads[-1].start()

    def answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            request = ""
            while "\r\n\r\n" not in request:
                request += connection.recv(65536).decode()
            self.requests.append(request)
            for piece in self.say(request):
                connection.sendall(piece)
                self.sent += len(piece)

    def is_left_alone(self) -> bool:
        """Whether every connection has ended."""
        for thread in list(self.threads):
            thread.join(PATIENCE)
        return not any(thread.is_alive() for thread in self.threads)


@contextmanager
def serving(say) -> Iterator[Server]:
    server = Server(say)
    try:
        yield server
    finally:
        server.socket.close()


def forever(piece: bytes, pause: float = 0.0) -> Iterator[bytes]:
    while True:
        yield piece
        time.sleep(pause)


def head(status="200 OK", **headers) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode()


def remote(server: Server, body: bytes = BODY) -> RemoteFile:
    return RemoteFile("film.mp4", server.url, len(body), f"sha1:{hashlib.sha1(body).hexdigest()}")


def endless(start: bytes, piece: bytes, pause: float = 0.0):
    def say(request):
        yield start
        yield from forever(piece, pause)

    return say


ENDLESS = {
    "record": endless(head(), b" " * 65536),
    "record in chunks": endless(head(Transfer_Encoding="chunked"), b"10000\r\n" + b" " * 65536 + b"\r\n"),
    "trailers": endless(head(Transfer_Encoding="chunked") + b"2\r\n{}\r\n0\r\n", b"a: b\r\n" * 1000),
    "error page": endless(head("503 Busy"), b"x" * 65536),
    "redirect": endless(head("302 Found", Location="/other"), b"x" * 65536),
    "headers": endless(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n" * 1000),
    "one header": endless(b"HTTP/1.1 200 OK\r\na: ", b"b" * 65536),
    "promises": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "drip of a record": endless(head(), b" ", 0.01),
    "drip of headers": endless(b"HTTP/1.1 200 OK\r\na: ", b"b", 0.01),
    "drip of promises": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.1),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_an_answer_without_an_end_is_given_up_and_read_no_further(kind):
    with serving(ENDLESS[kind]) as server:
        with pytest.raises(download.Unreachable):
            download.archive_file("item", base=server.url, timeout=0.3)
        assert server.is_left_alone()
        assert server.sent < web.PAGE_BYTES + 16e6  # what the system's buffers hold comes on top


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_download_without_an_end_ends(tmp_path, kind):
    with serving(ENDLESS[kind]) as server:
        with pytest.raises(download.DownloadError):
            fetch(remote(server), tmp_path / "film.mp4", pause=0)
        assert server.is_left_alone()
        assert not (tmp_path / "film.mp4").exists()


def test_a_server_that_hangs_up_after_every_few_bytes_is_given_up(tmp_path):
    def say(request):
        start = int(request.partition("bytes=")[2].partition("-")[0] or 0)
        yield head("206 Partial", Content_Range=f"bytes {start}-599999/600000") + BODY[start : start + 1000]

    with serving(say) as server, pytest.raises(download.DownloadError, match=r"broke off at 0\.0 MB of 0\.6 MB"):
        fetch(remote(server), tmp_path / "film.mp4", pause=0)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content_Length": 10**18}, BODY + b"more"),
        ({"Content_Length": -5}, BODY),
        ({"Content_Length": "many"}, BODY),
        ({}, BODY + b"more" * 10**6),
        ({"Content_Range": "bytes 5-9/10"}, BODY),
    ],
    ids=str,
)
def test_lengths_that_lie_change_nothing_of_a_file_that_comes_whole(tmp_path, headers, body):
    with serving(lambda request: iter([head(**headers) + body])) as server:
        assert fetch(remote(server), tmp_path / "film.mp4", pause=0).read_bytes() == BODY


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (head(Content_Length=13) + b"please log in", "13 bytes came in place of 600000: a login page"),
        (head("206 Partial", Content_Range="bytes 7-600000/600000") + BODY[7:], "other bytes came"),
        (head("206 Partial", Content_Range="bytes 0-9/10") + BODY[:10], "10 bytes came in place of 600000"),
        (head("206 Partial") + BODY, "other bytes came"),
        (b"no HTTP at all\r\n\r\n", "no HTTP at all"),
        (b"", "without response"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_an_answer_to_something_else_is_not_taken_for_the_file(tmp_path, answer, reason):
    with serving(lambda request: iter([answer])) as server, pytest.raises(download.Unreachable, match=reason):
        fetch(remote(server), tmp_path / "film.mp4", pause=0)
    assert not list(tmp_path.glob("film*"))


def test_a_file_that_changes_between_two_tries_is_noticed_and_then_downloaded_anew(tmp_path):
    other = BODY[::-1]
    bodies = [BODY[:100_000], other, BODY]

    def say(request):
        start = int(request.partition("bytes=")[2].partition("-")[0] or 0)
        status, fields = ("206 Partial", {"Content_Range": f"bytes {start}-599999/600000"}) if start else ("200 OK", {})
        yield head(status, Content_Length=600_000 - start, **fields) + bodies.pop(0)[start:]

    with serving(say) as server:
        with pytest.raises(download.WrongChecksum, match="deleted"):
            fetch(remote(server), tmp_path / "film.mp4", pause=0)
        assert fetch(remote(server), tmp_path / "film.mp4", pause=0).read_bytes() == BODY


@pytest.mark.parametrize(
    "there", ["file:///etc/hostname", "ftp://127.0.0.1/film.mp4", "data:text/plain,film", "gopher://x/"]
)
def test_a_redirect_off_http_is_not_followed(tmp_path, there):
    with serving(lambda request: iter([head("302 Found", Location=there, Content_Length=0)])) as server:
        with pytest.raises(download.Unreachable, match=r"redirects to|not allowed"):
            fetch(remote(server), tmp_path / "film.mp4", pause=0)
        with pytest.raises(OSError):
            web.urlopen(there, 1.0)


def test_a_redirect_from_https_stays_there():
    request, redirect = urllib.request.Request("https://a/film.mp4"), web._Redirect().redirect_request
    assert redirect(request, io.BytesIO(), 302, "Found", {}, "https://b/film.mp4").full_url == "https://b/film.mp4"
    with pytest.raises(urllib.error.URLError, match=r"redirects to http://b/film\.mp4, from https to http"):
        redirect(request, io.BytesIO(), 302, "Found", {}, "http://b/film.mp4")


def test_redirects_in_a_circle_end(tmp_path):
    with serving(lambda request: iter([head("302 Found", Location="/file", Content_Length=0)])) as server:
        with pytest.raises(download.Unreachable):
            fetch(remote(server), tmp_path / "film.mp4", pause=0)
        assert len(server.requests) <= 12 * download.ATTEMPTS


def test_a_file_too_large_for_the_disk_is_not_begun(tmp_path):
    with serving(lambda request: iter([])) as server:
        huge = RemoteFile("film.mp4", server.url, 10**15, "md5:" + "0" * 32)
        with pytest.raises(download.DiskFull, match=r"needs 1000000000\.0 MB"):
            fetch(huge, tmp_path / "film.mp4", pause=0)
        assert server.requests == []


# Killed, or two at once


def slowly(request: str) -> Iterator[bytes]:
    start = int(request.partition("bytes=")[2].partition("-")[0] or 0)
    yield head("206 Partial", Content_Range=f"bytes {start}-599999/600000", Content_Length=600_000 - start)
    for place in range(start, len(BODY), 20_000):
        yield BODY[place : place + 20_000]
        time.sleep(0.005)


def started(server: Server, target: Path) -> multiprocessing.Process:
    process = multiprocessing.get_context("fork").Process(target=fetch, args=(remote(server), target, 0))
    process.start()
    return process


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


@needs_fork
def test_a_download_killed_at_any_moment_goes_on_and_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "STALL", 5.0)
    with serving(slowly) as server:
        for k in range(int(os.environ.get("VG_FUZZ", "40")) // 10):
            target = tmp_path / f"{k}.mp4"
            process = started(server, target)
            time.sleep(0.03 + 0.15 * (k * 0.618 % 1))
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            assert fetch(remote(server), target, 0).read_bytes() == BODY
            assert {p.name for p in tmp_path.glob("[!.]*")} == {f"{i}.mp4" for i in range(k + 1)}


@needs_fork
def test_several_processes_download_a_file_once(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "STALL", 5.0)
    with serving(slowly) as server:
        processes = [started(server, tmp_path / "film.mp4") for _ in range(4)]
        for process in processes:
            process.join(PATIENCE)
        assert [process.exitcode for process in processes] == [0] * 4
        assert (tmp_path / "film.mp4").read_bytes() == BODY
        assert len(server.requests) == 1


def test_a_wrong_file_under_the_final_name_is_replaced(tmp_path):
    (tmp_path / "film.mp4").write_bytes(BODY[::-1])
    with serving(slowly) as server:
        assert fetch(remote(server), tmp_path / "film.mp4", 0).read_bytes() == BODY
        assert fetch(remote(server), tmp_path / "film.mp4", 0).read_bytes() == BODY
        assert len(server.requests) == 1


def test_an_answer_that_is_no_http_is_an_error_of_http():
    with serving(lambda request: iter([b"SSH-2.0\r\n"])) as server, pytest.raises(http.client.HTTPException):
        web.urlopen(server.url, 1.0)
