"""Laws of the sources: the right file is found, a download comes whole or says why not, falling back is said.

The archive is played by a local server that can be told to misbehave.
"""

import errno
import hashlib
import json
import os
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

from vg.data import download, sources
from vg.data.download import best_video, fetch
from vg.data.sources import film, find_film, video
from vg.synthetic import cartoon

FILM = np.random.default_rng(0).bytes(1_500_000)  # several chunks
NAME = "Steamboat Willie (1928).mp4"


@dataclass
class Archive:
    """A local stand-in for archive.org. ``served`` has the first byte of every answer to a download."""

    base: str = ""
    item: str = sources.ITEM
    body: bytes = FILM
    files: list = field(default_factory=list)
    ranges: bool = True
    drop_after: list = field(default_factory=list)  # for each coming answer: bytes to send before hanging up
    status: int = 200  # of the metadata record
    file_status: int = 200
    page: bytes | None = None  # instead of the metadata record
    served: list = field(default_factory=list)

    def record(self) -> dict:
        return {"files": self.files, "metadata": {"identifier": self.item}}


def listed(name=NAME, body=FILM, source="original", **fields) -> dict:
    """A file as the metadata record lists it: every value is a string."""
    sums = {"md5": hashlib.md5(body).hexdigest(), "sha1": hashlib.sha1(body).hexdigest()}
    return {"name": name, "source": source, "size": str(len(body)), "length": "466.47", **sums, **fields}


@pytest.fixture
def archive():
    state = Archive()
    state.files = [
        listed("steamboat_willie_512kb.mp4", b"small", "derivative", height="240"),
        listed(height="480", width="576", format="h.264"),
        {"name": "steamboat-willie-mickey_files.xml", "source": "original", "format": "Metadata"},
        listed("__ia_thumb.jpg", b"picture"),
    ]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args):
            pass

        def answer(self, status, body, headers=(), total=None):
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(total or len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = True

        def do_GET(self):
            path = unquote(self.path)
            if path.startswith("/metadata/"):
                known = path == f"/metadata/{state.item}"
                record = json.dumps(state.record() if known else {}).encode()
                self.answer(state.status, record if state.page is None else state.page)
            elif path == f"/download/{state.item}/{NAME}":  # passed on to another host, as the archive does
                self.answer(302, b"", [("Location", f"{state.base}/data/{NAME.replace(' ', '%20')}")])
            elif path == f"/data/{NAME}" and state.file_status == 200:
                asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
                start = int(asked[1]) if asked and state.ranges else 0
                state.served.append(start)
                rest = state.body[start:]
                sent = rest[: state.drop_after.pop(0)] if state.drop_after else rest
                if asked and state.ranges:
                    headers = [("Content-Range", f"bytes {start}-{len(state.body) - 1}/{len(state.body)}")]
                    self.answer(206, sent, headers, total=len(rest))
                else:
                    self.answer(200, sent, total=len(rest))
            else:
                self.answer(state.file_status if state.file_status != 200 else 404, b"")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    state.base = f"http://127.0.0.1:{server.server_address[1]}"
    yield state
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def house(tmp_path, monkeypatch):
    """A repository of its own, profile laptop, no $VG_DATA, no waiting between attempts."""
    monkeypatch.setattr(sources.paths, "root", lambda: tmp_path)
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    monkeypatch.setenv("VG_PROFILE", "laptop")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("VG_DATA", raising=False)
    return tmp_path


def parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("**/*.part"))


# Downloading


def test_the_film_is_downloaded_once_and_found_ever_after(archive, house, capsys):
    source = film(base=archive.base)
    assert source.path == house / "data" / "steamboat_willie.mp4"
    assert source.path.read_bytes() == FILM
    assert (source.name, source.old) == ("film", True)
    assert source.sha256 == hashlib.sha256(FILM).hexdigest()
    assert parts(house) == []
    assert film(base="http://127.0.0.1:9") == source  # nobody is asked
    assert archive.served == [0]
    assert "cartoon" not in capsys.readouterr().out


@pytest.mark.parametrize("drops", [[100_000], [700_000, 1, 400_000], [0, 50_000, 0, 0, 50_000]])
def test_dropped_connections_are_taken_up_where_they_broke(archive, drops):
    archive.drop_after = list(drops)
    assert film(base=archive.base).path.read_bytes() == FILM
    assert archive.served == [sum(drops[:i]) for i in range(len(drops) + 1)]


def test_a_part_left_by_a_killed_run_is_taken_up(archive, house):
    archive.drop_after = [600_000] + [0] * download.ATTEMPTS
    with pytest.raises(download.DownloadError, match=r"0\.6 MB of 1\.5 MB.*goes on where it stopped"):
        film(base=archive.base)
    (part,) = parts(house)
    assert part.read_bytes() == FILM[:600_000]
    assert find_film(house / "data") is None
    archive.served.clear()
    assert film(base=archive.base).path.read_bytes() == FILM
    assert archive.served == [600_000]
    assert parts(house) == []


def test_a_page_in_place_of_the_rest_does_not_cost_what_has_come(archive, house):
    archive.drop_after = [600_000] + [0] * download.ATTEMPTS
    with pytest.raises(download.DownloadError):
        film(base=archive.base)
    archive.ranges, archive.body = False, b"please log in"
    with pytest.raises(download.DownloadError, match=r"13 bytes came in place of.*goes on where it stopped"):
        film(base=archive.base)
    assert parts(house)[0].read_bytes() == FILM[:600_000]
    archive.ranges, archive.body = True, FILM
    assert film(base=archive.base).path.read_bytes() == FILM


@pytest.mark.parametrize("drops", [[], [800_000], [800_000, 300_000, 100]])
def test_a_server_without_ranges_serves_as_well(archive, drops):
    archive.ranges, archive.drop_after = False, list(drops)
    assert film(base=archive.base).path.read_bytes() == FILM
    assert set(archive.served) == {0}


@pytest.mark.parametrize("sums", [("sha1",), ("md5",), ("md5", "sha1")])
def test_wrong_bytes_never_become_the_film(archive, house, sums):
    archive.body = FILM[:-1] + bytes([FILM[-1] ^ 1])
    (entry,) = [f for f in archive.files if f["name"] == NAME]
    for name in {"md5", "sha1"} - set(sums):
        del entry[name]
    with pytest.raises(download.WrongChecksum, match=r"wrong (sha1|md5) checksum.*deleted.*again"):
        film(base=archive.base)
    assert [p for p in house.rglob("*") if p.is_file() and p.suffix != ".lock"] == []
    archive.body = FILM
    assert film(base=archive.base).path.read_bytes() == FILM


def test_more_bytes_than_announced_are_not_written(archive, house):
    archive.body = FILM + b"and more"
    assert film(base=archive.base).path.read_bytes() == FILM


def test_a_part_that_is_too_long_is_begun_anew(archive, house):
    remote = download.archive_file(sources.ITEM, base=archive.base)
    part = house / f"x.mp4.{remote.checksum.partition(':')[2][:8]}.part"
    part.write_bytes(FILM + b"rubbish")
    assert fetch(remote, house / "x.mp4").read_bytes() == FILM


def test_a_new_version_is_not_sewn_to_the_part_of_an_old_one(archive, house):
    archive.drop_after = [600_000] + [0] * download.ATTEMPTS
    with pytest.raises(download.DownloadError):
        film(base=archive.base)
    archive.body = FILM[::-1]
    archive.files = [listed(body=archive.body)]
    assert film(base=archive.base).path.read_bytes() == archive.body


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_keeps_the_part_and_says_what_to_do(archive, house, monkeypatch, code):
    write, written = download._write, []

    def full(out, chunk):
        if sum(written) + len(chunk) > 700_000:
            write(out, chunk[:1000])  # the last bite that fits
            raise OSError(code, "full")
        written.append(write(out, chunk))
        return written[-1]

    with monkeypatch.context() as patch:
        patch.setattr(download, "_write", full)
        with pytest.raises(download.DiskFull, match=r"disk is full.*needs 1\.5 MB.*Make room.*again"):
            film(base=archive.base)
    (part,) = parts(house)
    kept = part.stat().st_size
    assert part.read_bytes() == FILM[:kept]
    assert kept == sum(written) + 1000
    assert film(base=archive.base).path.read_bytes() == FILM
    assert archive.served == [0, kept]


def test_a_file_that_is_listed_but_not_served_is_an_error(archive, house):
    archive.file_status = 403
    with pytest.raises(download.DownloadError, match=r"listed but not served \(HTTP 403\)"):
        film(base=archive.base)


def test_a_folder_that_cannot_be_written_is_an_error(archive, house):
    (house / "data").write_text("a file where the folder should be")
    with pytest.raises(download.DownloadError, match="cannot be written"):
        film(base=archive.base)


# Falling back


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ({"item": "another-item"}, "no item 'steamboat-willie-mickey'"),
        ({"files": []}, "no item"),
        ({"files": [listed("steamboat.txt")]}, "no video file"),
        ({"status": 503}, "503"),
        ({"page": b"<html>Log in to use this network</html>"}, "login page"),
        ({"page": b""}, "login page"),
        ({"page": b"[]"}, "no item"),
        ({"file_status": 503}, "503"),
    ],
)
def test_without_the_film_the_cartoon_is_drawn_and_one_line_says_why(archive, house, capsys, trouble, reason):
    for name, value in trouble.items():
        setattr(archive, name, value)
    source = film(base=archive.base)
    assert (source.name, source.path, source.old) == ("cartoon", None, False)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("Drawing the cartoon instead of the film: ")
    assert reason in line
    assert parts(house) == []


ODD = [  # metadata records that an archive should not send
    *(b"null", b"0", b'"x"', b"[[]]", b"{", b"\xff\xfe\x00", b"[" * 100_000, b'{"a":' * 50_000),
    b'{"files": [{"size": ' + b"9" * 5000 + b"}]}",
    *({"files": files} for files in (None, 7, "abc", {"a": 1}, [None], [[]], ["a.mp4"], [{}])),
    *({"files": [listed(), {"name": name}]} for name in (None, 3, [], {"a": 1}, "")),
    *({"files": [listed("steamboat" + name)]} for name in ("\ud800.mp4", "a\nb.mp4", "\x1b[2J.mp4")),
    *({"files": [listed(), listed(name)]} for name in ("../../a.mp4", "/etc/a.mp4", "a" * 9999)),
    *({"files": [listed(size=size)]} for size in (None, -1, "1e6", "inf", "nan", 10**30, "1_0", "0x10", [], 1.5, True)),
    *({"files": [listed(height=height)]} for height in ("inf", "nan", "-1", None, [], "1e999", {})),
    *({"files": [listed(length=length)]} for length in ("inf", "nan", ":" * 9999, "1:x", [], -5, {}, "9" * 400)),
    *({"files": [listed(sha1=s, md5=s)]} for s in (1, [], {}, "x" * 40, "0" * 39, "é" * 32, True)),
    *({"files": [listed(private=True)]}, {"files": [listed()], "is_dark": "yes"}, {"files": [listed(source=[])]}),
]


@pytest.mark.parametrize("record", ODD, ids=lambda record: ascii(record)[:50])
def test_an_odd_metadata_record_gives_the_film_or_one_clear_line(archive, house, capsys, record):
    archive.page = record if isinstance(record, bytes) else json.dumps(record).encode()
    source = film(base=archive.base)
    out = capsys.readouterr().out.splitlines()
    if source.path:
        assert source.path.read_bytes() == FILM and out == []
    else:
        assert len(out) == 1 and out[0].startswith("Drawing the cartoon instead of the film: ")
    assert [p.parent for p in house.rglob("*") if p.is_file() and p.suffix != ".lock"] in ([], [house / "data"])


def test_without_a_network_the_cartoon_is_drawn(capsys):
    assert film(base="http://127.0.0.1:9").path is None
    assert "cannot be reached" in capsys.readouterr().out


def test_a_server_that_never_answers_is_not_waited_for(monkeypatch, capsys):
    never = threading.Event()
    monkeypatch.setattr(download.web, "urlopen", lambda *args, **kwargs: never.wait())
    with pytest.raises(download.Unreachable, match=r"did not answer within 0\.05 seconds"):
        download.archive_file("item", timeout=0.05)
    never.set()


@pytest.mark.usefixtures("offline")
def test_profile_smoke_has_the_cartoon_whatever_lies_on_disk(house, monkeypatch, capsys):
    (house / "data").mkdir()
    (house / "data" / "steamboat_willie.mp4").write_bytes(b"film")
    monkeypatch.setenv("VG_PROFILE", "smoke")
    monkeypatch.setenv("VG_DATA", "/no/such/folder")
    assert film().name == "cartoon"
    assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.usefixtures("offline")
def test_download_false_touches_no_network(capsys):
    assert film(download=False).name == "cartoon"
    assert "download=False" in capsys.readouterr().out


# Choosing


@pytest.mark.parametrize(
    ("files", "best"),
    [
        ([], None),
        ([listed("a.mp4", md5="", sha1="")], None),
        ([listed("a.mp4", size="")], None),
        ([listed("a.mp4", private="true")], None),
        ([listed("a.txt")], None),
        ([listed("b.mp4"), listed("a.MP4")], "a.MP4"),
        ([listed("a.mp4", source="derivative", height="1080"), listed("b.mkv", height="480")], "b.mkv"),
        ([listed("a.mp4", height="480"), listed("b.mp4", height="720")], "b.mp4"),
        ([listed("a.mp4", height="1080", size="9"), listed("b.mp4", height="720", size="10")], "b.mp4"),
        ([listed("a.mp4", size="9"), listed("b.mp4", size="10")], "b.mp4"),
        ([listed("a.avi", size="7000000000"), listed("b.mp4", source="derivative")], "b.mp4"),
        ([listed("a.avi", size="7000000000")], "a.avi"),
        ([listed("a.mp4", length="60.5", height="720"), listed("b.mp4")], "b.mp4"),
        ([listed("a.mp4", length="1:00", height="720"), listed("b.mp4", length="7:46")], "b.mp4"),
        ([listed("a.mp4", length=None, height="720"), listed("b.mp4", length="n/a")], "a.mp4"),
        ([listed("plane.mp4", height="720"), listed("My STEAMBOAT.mp4")], "My STEAMBOAT.mp4"),
    ],
)
def test_the_best_video_by_the_stated_rule_in_any_order(files, best):
    for order in (files, files[::-1]):
        chosen = best_video(order, like="steamboat")
        assert (chosen and chosen["name"]) == best


def test_checksums_may_be_written_in_capitals(archive):
    archive.files = [listed(sha1=hashlib.sha1(FILM).hexdigest().upper())]
    assert film(base=archive.base).path.read_bytes() == FILM


# Finding


def test_the_order_in_which_a_film_is_found(tmp_path):
    last_to_first = [
        "Z steamboat.mkv",
        "A Steamboat Film.webm",
        "steamboat_willie.ogv",
        "Steamboat_Willie.MKV",
        "steamboat_willie.mp4",
    ]
    for name in ["steamboat.txt", ".steamboat.mp4", "steamboat_willie.mp4.12345678.part", "other.mp4"]:
        (tmp_path / name).touch()
    (tmp_path / "steamboat.mov").mkdir()
    assert find_film(tmp_path) is None
    for name in last_to_first:
        (tmp_path / name).touch()
        assert find_film(tmp_path) == tmp_path / name
    assert find_film(tmp_path / "nowhere") is None


@pytest.mark.usefixtures("offline")
def test_vg_data_comes_before_data(house, monkeypatch):
    for folder in ("data", "elsewhere"):
        (house / folder).mkdir()
        (house / folder / "steamboat_willie.mp4").write_bytes(folder.encode())
    assert film().path == house / "data" / "steamboat_willie.mp4"
    monkeypatch.setenv("VG_DATA", str(house / "elsewhere"))
    assert film().path == house / "elsewhere" / "steamboat_willie.mp4"
    (house / "elsewhere" / "steamboat_willie.mp4").unlink()
    assert film().path == house / "data" / "steamboat_willie.mp4"


def test_a_mistyped_vg_data_is_an_error(monkeypatch):
    monkeypatch.setenv("VG_DATA", "/no/such/folder")
    with pytest.raises(FileNotFoundError, match=r"VG_DATA is '/no/such/folder'.*Correct it"):
        film()


# Describing


def test_one_line_says_which_source_and_where(house, monkeypatch, capsys):
    (house / "data").mkdir()
    (house / "data" / "steamboat_willie.mp4").write_bytes(bytes(1_230_000))
    assert film().describe() == "film: Steamboat Willie (1928), data/steamboat_willie.mp4 (1.2 MB)"
    monkeypatch.setenv("VG_DATA", str(house / "data"))
    assert film().describe() == "film: Steamboat Willie (1928), $VG_DATA/steamboat_willie.mp4 (1.2 MB)"
    assert sources.drawn_cartoon().describe() == "cartoon: drawn by vg.synthetic.cartoon"


def test_the_cartoons_digest_is_that_of_the_code_that_draws_it(tmp_path, monkeypatch):
    (tmp_path / "cartoon.py").write_text("a")
    monkeypatch.setattr(cartoon, "__file__", str(tmp_path / "cartoon.py"))
    before = sources.drawn_cartoon().sha256
    assert before == sources.drawn_cartoon().sha256
    (tmp_path / "cartoon.py").write_text("b")
    assert sources.drawn_cartoon().sha256 != before


def test_a_video_of_ones_own(house):
    (house / "My holiday.MOV").write_bytes(b"frames")
    source = video(house / "My holiday.MOV")
    assert (source.name, source.path, source.old) == ("My holiday", house / "My holiday.MOV", False)
    assert source.sha256 == hashlib.sha256(b"frames").hexdigest()


def test_a_video_that_is_not_there_is_named_with_what_is(house):
    (house / "holiday.mov").touch()
    with pytest.raises(FileNotFoundError, match=r"no file .*holyday\.mov.*holiday\.mov"):
        video(house / "holyday.mov")
    with pytest.raises(FileNotFoundError, match="does not exist either"):
        video(house / "nowhere" / "holiday.mov")
    with pytest.raises(IsADirectoryError, match=r"is a folder.*holiday\.mov"):
        video(house)


def test_a_name_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    try:
        path.write_bytes(b"x")
    except OSError:
        pytest.skip("this file system has names in UTF-8 alone")
    with pytest.raises(ValueError, match="no UTF-8"):
        video(path)
