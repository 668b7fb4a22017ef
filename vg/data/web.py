"""HTTP whose answers end: limited in bytes, not slower than a limit, and never redirected off HTTP(S).

``urllib`` alone reads a page, an error or the body of a redirect for as long as a server sends it.
"""

import http.client
import io
import math
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PAGE_BYTES = 1 << 22  # of an answer that is no download; more is an error. Set it higher for a record that is larger
SLOWEST = 1000  # bytes a second: a connection that brings less, over the time it may be silent, counts as dropped


def urlopen(url: str, timeout: float, most: int | None = None, **headers: str) -> http.client.HTTPResponse:
    """Ask for an address.

    Args:
        url: of a scheme ``http`` or ``https``.
        timeout: seconds that the server may be silent.
        most: bytes that may come in all; default ``PAGE_BYTES``.
        headers: of the request.

    Raises:
        OSError: if there is no answer, or (later, on reading) it is too long or too slow.
        http.client.HTTPException: if the answer is no HTTP.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "vg (video generation course)", **headers})
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        _HTTP,
        _HTTPS,
        _Redirect,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    try:
        answer = opener.open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()  # as in ``_refuse``
        raise
    if most is not None:
        answer.wire.most = most
    return answer


class _Wire(io.RawIOBase):
    """The bytes of a connection."""

    def __init__(self, raw: io.RawIOBase, patience: float):
        self.raw, self.patience, self.most = raw, patience, PAGE_BYTES
        self.count, self.fresh, self.since = 0, 0, time.monotonic()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int | None:
        came = self.raw.readinto(buffer)
        self.count += came or 0
        self.fresh += came or 0
        passed = time.monotonic() - self.since
        if self.count > self.most:
            self._refuse(OSError(f"it sends more than {self.most / 1e6:.1f} MB"))
        if came and passed > self.patience:
            if self.fresh < SLOWEST * passed:
                self._refuse(TimeoutError(f"only {self.fresh} bytes came in {passed:.0f} seconds"))
            self.fresh, self.since = 0, time.monotonic()
        return came

    def _refuse(self, problem: OSError) -> None:
        self.raw.close()  # at once: the connection would stay open for as long as anybody looks at the error
        raise problem

    def close(self) -> None:
        self.raw.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, debuglevel: int = 0, method: str | None = None, url: str | None = None):
        super().__init__(sock, debuglevel, method, url)
        patience = sock.gettimeout()
        self.wire = _Wire(self.fp.detach(), math.inf if patience is None else patience)
        self.fp = io.BufferedReader(self.wire)


class _Connection(http.client.HTTPConnection):
    response_class = _Answer


class _SecureConnection(http.client.HTTPSConnection):
    response_class = _Answer


class _HTTP(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, request)


class _HTTPS(urllib.request.HTTPSHandler):
    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_SecureConnection, request)


class _Redirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        request: urllib.request.Request,
        answer: IO[bytes],
        code: int,
        message: str,
        headers: http.client.HTTPMessage,
        url: str,
    ) -> urllib.request.Request | None:
        there = urllib.parse.urlsplit(url).scheme
        if there != "https" and there != request.type:  # from https to http would give up what https is for
            answer.close()
            raise urllib.error.URLError(f"it redirects to {url}, from {request.type} to {there}")
        return super().redirect_request(request, answer, code, message, headers, url)
