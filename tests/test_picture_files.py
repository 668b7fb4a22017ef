"""Laws of picture files and archives: upright, whole or refused by name, within limits, nothing left out in silence.

The long form of the fuzz: ``VG_FUZZ=400 pytest tests/test_picture_files.py -k damage -s``.
"""

import gzip
import io
import os
import random
import tarfile
import tracemalloc
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps, features

from vg.data import BadImages, archives, image_files, image_folder, sources, stills, video
from vg.data.beginning import first_frames
from vg.data.store import open_store

FLIPS = int(os.environ.get("VG_FUZZ", "40"))
STORED = {  # by EXIF orientation: how a camera held that way writes an upright picture (CIPA DC-008, table 6)
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: x.swapaxes(0, 1)[::-1],
    7: lambda x: x.swapaxes(0, 1)[::-1, ::-1],
    8: lambda x: x.swapaxes(0, 1)[:, ::-1],
}


@pytest.fixture(autouse=True)
def house(tmp_path, monkeypatch):
    """A repository of its own."""
    monkeypatch.setattr(sources.paths, "root", lambda: tmp_path)
    monkeypatch.setenv("VG_CACHE", str(tmp_path / "cache"))
    return tmp_path


def photo(seed=0, size=(48, 64)) -> Image.Image:
    """Soft shapes and a little noise, as a camera sees."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).resize(size[::-1], Image.Resampling.BICUBIC)
    pixels = np.asarray(coarse) + rng.normal(size=(*size, 3)) * 4
    return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, form: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def zipped(files: dict[str, bytes], path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tarred(files: dict[str, bytes], path: Path, headers=()) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix in (".gz", ".tgz") else "w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        for entry in headers:
            archive.addfile(entry)
    return path


def written(files: dict[str, bytes], path: Path) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def some(form="PNG", many=4, **options) -> dict[str, bytes]:
    return {f"{'ab'[i % 2]}/{i}.{form.lower()}": encoded(photo(i), form, **options) for i in range(many)}


def contents(path: Path) -> dict[str, tuple]:
    """Of every picture its side, class and pixels."""
    found = image_files.find_pictures(path)
    pixels = {found.pictures[i].name: p.tobytes() for i, p in image_files.read(found, 48)}
    return {p.name: (p.split, found.classes[p.label], pixels[p.name]) for p in found.pictures}


# Which side is up


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_a_still_is_upright_whichever_way_the_camera_was_held(house, form):
    if form == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    upright = np.asarray(photo().resize((64, 48)))
    for orientation, written in STORED.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = house / f"{orientation}.{form.lower()}"
        options = {"quality": 95} if form in ("JPEG", "WEBP", "AVIF") else {}
        path.write_bytes(encoded(Image.fromarray(written(upright).copy()), form, exif=exif, **options))
        seen = stills.still(path)
        assert seen.shape == (1, 3, 48, 64) and seen.dtype == np.uint8
        assert np.abs(seen[0].transpose(1, 2, 0).astype(int) - upright).mean() < 4, orientation
        if form == "JPEG":
            given = first_frames(path, 32, 1)
            assert given.shape == (1, 1, 1, 32, 32)
            grey = np.asarray(ImageOps.fit(Image.fromarray(upright).convert("L"), (32, 32), Image.Resampling.BILINEAR))
            assert np.abs((given.numpy()[0, 0, 0] + 1) * 127.5 - grey).mean() < 6, orientation


@pytest.mark.parametrize("bars", [False, True])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP"])
def test_an_ordinary_still_is_what_a_video_of_it_would_be(house, form, bars):
    """The picture without its black bars, in grey."""
    image = photo(size=(96, 128))
    if bars:
        wide = Image.new("RGB", (128, 160))
        wide.paste(image, (0, 32))
        image = wide
    path = house / f"a.{form.lower()}"
    path.write_bytes(encoded(image, form))
    size = (24, 32)
    still, film = first_frames(path, size, 1), open_store(video(path), size=size, frames=1).clip(0, 1)
    assert still.shape == film.shape and still.dtype == film.dtype
    assert (still - film).abs().max() * 127.5 <= 2


def test_what_moves_stays_a_video_for_a_prompt_and_gives_its_first_picture_for_a_still(house):
    images = [photo(i) for i in range(5)]
    path = house / "moving.gif"
    images[0].save(path, save_all=True, append_images=images[1:], duration=100)
    assert first_frames(path, 32, 4).shape[2] == 4
    assert torch.equal(first_frames(path, 32, 1), first_frames(path, 32, 1))
    assert stills.pictures_in(path) == 5
    assert stills.pictures_in(written(some(), house / "x") / "a" / "0.png") == 1
    for name in ("phone.mpo", "pages.tif"):  # a picture and its preview, or pages
        photo().save(house / name, save_all=True, append_images=[photo(1)])
        assert stills.pictures_in(house / name) == 1 and first_frames(house / name, 32, 4).shape[2] == 1
    (house / "film.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(40))
    assert stills.pictures_in(house / "film.mp4") == stills.pictures_in(house / "none.png") == 0


@pytest.mark.parametrize(("name", "brand"), [("a.heic", b"heic"), ("a.HEIF", b"mif1"), ("a.jpg", b"heic")])
def test_a_heic_is_refused_with_what_to_do(house, name, brand):
    (house / name).write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(40))
    with pytest.raises(BadImages, match=r"HEIC.*JPEG or PNG"):
        first_frames(house / name, 32, 1)


# Damage


def damaged(data: bytes, seed: int) -> bytes:
    """One bit is another, or the file is cut off (one time in five)."""
    rng = random.Random(seed)
    place = rng.randrange(len(data))
    if seed % 5 == 0:
        return data[:place]
    return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]


# What is damaged, and the largest share of damage that may pass: in formats without checksums, what still obeys the
# format cannot be told from a picture. (Of a tar's JPEGs as of a folder's; of its headers all is noticed.)
KINDS = {
    "folder of PNG": (lambda at: written(some("PNG"), at), 0.0),
    "folder of JPEG": (lambda at: written(some("JPEG", quality=85), at), 0.62),
    "folder of progressive JPEG": (lambda at: written(some("JPEG", quality=85, progressive=True), at), 0.55),
    "folder of WebP": (lambda at: written(some("WEBP"), at), 0.80),
    "zip of JPEG": (lambda at: zipped(some("JPEG"), at.with_suffix(".zip")), 0.0),
    "tar of PNG": (lambda at: tarred(some("PNG"), at.with_suffix(".tar")), 0.0),
    "tar of JPEG": (lambda at: tarred(some("JPEG"), at.with_suffix(".tar")), 0.40),
    "tar.gz of JPEG": (lambda at: tarred(some("JPEG"), at.with_suffix(".tar.gz")), 0.0),
}


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_an_error_with_a_name_or_changes_nothing_but_where_a_format_has_no_checksum(house, kind):
    make, share = KINDS[kind]
    path = make(house / "pictures")
    truth = contents(path)
    files = sorted(f for f in path.rglob("*") if f.is_file()) if path.is_dir() else [path]
    fates = {"refused": 0, "same": 0, "other": 0}
    for seed in range(FLIPS):
        file = files[seed % len(files)]
        whole = file.read_bytes()
        file.write_bytes(damaged(whole, seed))
        try:
            fates["same" if contents(path) == truth else "other"] += 1
        except BadImages as problem:
            assert file.name in str(problem), problem
            fates["refused"] += 1
        file.write_bytes(whole)
    print(f"{kind}: {fates}")
    assert fates["other"] <= share * FLIPS, fates
    assert fates["refused"]


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_an_archive_cut_off_anywhere_is_never_a_smaller_archive(house, kind):
    """Not even between two of its files, where ``tarfile`` sees an archive that simply ends."""
    path = (zipped if kind == "zip" else tarred)(some(many=6), house / f"a.{kind}")
    whole = path.read_bytes()
    blocks = [i for i in range(0, len(whole), 512)][:: 4 if kind != "zip" else 16]
    truth = contents(path)
    for length in blocks:
        path.write_bytes(whole[:length])
        try:
            assert contents(path) == truth  # only padding was lost
            assert kind == "tar" and not whole[length:].strip(b"\0")
        except BadImages as problem:
            assert path.name in str(problem)


def test_a_tar_with_a_damaged_header_is_not_a_shorter_tar(house):
    path = tarred(some(many=6), house / "a.tar")
    with tarfile.open(path) as archive:
        middle = archive.getmembers()[3].offset
    whole = path.read_bytes()
    for damage in (b"\0" * 512, b"x" + whole[middle + 1 : middle + 512]):
        path.write_bytes(whole[:middle] + damage + whole[middle + 512 :])
        with pytest.raises(BadImages, match=r"a\.tar is no tar that can be read"):
            image_files.find_pictures(path)
            list(image_files.read(image_files.find_pictures(path), 32))


def test_a_picture_of_a_zip_is_not_left_out_because_its_name_is_damaged(house):
    path = zipped(some(), house / "a.zip")
    whole = path.read_bytes()
    for old, new in ((b"a/2.png", b"a/2.pnf"), (b"a/2.png", b"a/2.pn/"), (b"a/2.png", b"a/.2png")):
        listed = whole.rindex(old)  # in the list at the end; the name beside the picture is sound
        path.write_bytes(whole[:listed] + new + whole[listed + len(old) :])
        refused(path, "File name in directory")


def test_no_flipped_bit_of_a_png_changes_its_pixels():
    whole = encoded(photo(size=(16, 16)), "PNG")
    pixels = stills.decode(whole, 16)
    for place in range(len(whole)):
        data = whole[:place] + bytes([whole[place] ^ 8]) + whole[place + 1 :]
        with suppress(OSError, ValueError, SyntaxError):  # refused; ``read`` makes one kind of error of Pillow's
            assert np.array_equal(stills.decode(data, 16), pixels), place


def test_a_jpeg_that_only_warnings_tell_of_is_refused_and_spare_bytes_are_not(house):
    whole = encoded(photo(), "JPEG", quality=85)
    end = len(whole) - 2
    start = whole.index(b"\xff\xda") + 14
    doubled = whole[:start] + whole[start:end] + whole[start:end] + whole[end:]  # more data than picture
    halved = whole[: start + (end - start) // 2] + whole[end:]  # and less
    for data in (doubled, halved):
        Image.open(io.BytesIO(data)).load()  # Pillow takes it
        (house / "a.jpg").write_bytes(data)
        with pytest.raises(BadImages, match=r"a\.jpg cannot be read as a picture"):
            stills.still(house / "a.jpg")
    for data in (whole, whole[:end] + bytes(stills.SPARE) + whole[end:], whole + b"\0trailer", whole + whole):
        assert np.array_equal(stills.decode(data, 48), stills.decode(whole, 48))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"restart_marker_blocks": 3}, {"optimize": True}], ids=str
)
def test_no_sound_jpeg_is_refused(mode, options):
    for quality in (1, 30, 95):
        for size in ((1, 1), (9, 30), (100, 64)):
            for subsampling in (0, 1, 2):
                image = photo(size=size).convert(mode)
                stills.decode(encoded(image, "JPEG", quality=quality, subsampling=subsampling, **options), 16)


# What is there, and what is left out


def test_links_are_followed_every_common_suffix_is_read_and_the_rest_is_named(house, capsys):
    written({f"{i}.png": encoded(photo(i), "PNG") for i in range(3)}, house / "elsewhere" / "cats")
    files = {
        "b/0.jfif": encoded(photo(5), "JPEG"),
        "b/1.JPE": encoded(photo(6), "JPEG"),
        "b/2.png": encoded(photo(7), "PNG"),
    }
    files |= {"b/notes.txt": b"x", "b/3.heic": b"x", "b/4.HEIC": b"x", "b/README": b"x", ".hidden": b"x"}
    if features.check("avif"):
        files["b/5.avif"] = encoded(photo(8), "AVIF")
    path = written(files, house / "pictures")
    (path / "a").symlink_to(house / "elsewhere" / "cats")
    (path / "b" / "linked.png").symlink_to(house / "elsewhere" / "cats" / "0.png")
    (path / "b" / "nowhere.png").symlink_to(house / "nowhere.png")
    images = image_folder(path, 48)
    assert images.classes == ("a", "b")
    assert len(images.train) + len(images.test) == 7 + features.check("avif")
    out = capsys.readouterr().out
    assert (
        f"Left out of {path}: 4 files (.heic, .txt, without suffix) and 1 link ('b/nowhere.png', for instance)." in out
    )


def test_an_empty_folder_is_named_it_may_be_a_class_whose_pictures_are_missing(house, capsys):
    path = written({f"{c}/{i}.png": encoded(photo(i), "PNG") for c in "ab" for i in range(2)}, house / "pictures")
    (path / "cats").mkdir()
    (path / "dogs").mkdir()
    (path / "dogs" / ".DS_Store").touch()
    (path / ".hidden").mkdir()
    assert image_folder(path, 48).classes == ("a", "b")
    assert f"Left out of {path}: 2 empty folders ('cats/', for instance)." in capsys.readouterr().out


@pytest.mark.parametrize("links", [[("a/up", "."), ("a/self", "a")], [("a/x", "b"), ("b/y", "a")]])
def test_links_in_a_circle_end(house, links):
    path = written(some(many=6), house / "pictures")
    for name, target in links:
        (path / name).symlink_to(path / target)
    names = image_files._listed(path).names
    assert len(names) == len({os.path.realpath(path / n) for n in names}) * (2 if "x" in str(links) else 1)


def test_one_class_may_be_a_link_to_another(house):
    path = written(some(), house / "pictures")
    (path / "c").symlink_to(path / "a")
    assert image_files.find_pictures(path).classes == ("a", "b", "c")


def test_links_in_archives_are_left_out_and_named(house):
    link = tarfile.TarInfo("a/passwd.png")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    path = tarred(some(), house / "a.tar", [link])
    assert image_files.find_pictures(path).left_out == "1 link ('a/passwd.png', for instance)"
    assert len(image_files.find_pictures(path).pictures) == 4
    path = zipped(some(), house / "a.zip")
    entry = zipfile.ZipInfo("a/passwd.png")
    entry.create_system, entry.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(entry, "/etc/passwd")
    assert image_files.find_pictures(path).left_out == "1 link ('a/passwd.png', for instance)"


# Strangers' archives and pictures


@pytest.fixture
def little_memory():
    """Less than 64 MB may be taken on the way."""
    tracemalloc.start()
    yield
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 64e6, f"{most / 1e6:.0f} MB were taken"


def refused(path: Path, reason: str) -> None:
    if tracemalloc.is_tracing():
        tracemalloc.reset_peak()  # making the input does not count
    with pytest.raises(BadImages, match=reason) as caught:
        list(image_files.read(image_files.find_pictures(path), 32))
    assert path.name in str(caught.value)


@pytest.mark.usefixtures("little_memory")
def test_a_zip_that_unpacks_to_too_much_is_refused_unread(house, monkeypatch):
    monkeypatch.setattr(stills, "FILE_BYTES", 100_000_000)
    monkeypatch.setattr(archives, "UNPACKED_BYTES", 50_000_000)
    path = house / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/0.png", encoded(photo(), "PNG"))
        with archive.open("a/1.png", "w") as entry:
            for _ in range(120):
                entry.write(bytes(1_000_000))
    refused(path, r"0\.1 GB in 0\.\d MB.*raise vg\.data\.archives\.UNPACKED_BYTES")
    monkeypatch.setattr(archives, "UNPACKED_BYTES", 1 << 30)
    refused(path, r"a/1\.png in .*120 MB, and 100 are allowed: vg\.data\.stills\.FILE_BYTES")
    lying = bytearray(path.read_bytes())  # says 1,000 bytes where 120 MB come
    at = lying.rindex(b"PK\1\2")
    lying[at + 24 : at + 28] = (1000).to_bytes(4, "little")
    path.write_bytes(lying)
    refused(path, "a.zip is no zip that can be read")


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("way", ["ZIP_BZIP2", "ZIP_LZMA"])
def test_a_zip_that_unpacks_without_a_limit_is_refused(house, way):
    with zipfile.ZipFile(house / "a.zip", "w", getattr(zipfile, way)) as archive:
        for i in range(2):
            archive.writestr(f"a/{i}.png", bytes(1_000_000))
    refused(house / "a.zip", "a way other than deflate")


@pytest.mark.usefixtures("little_memory")
def test_a_tar_that_unpacks_to_too_much_is_refused_unread(house, monkeypatch):
    monkeypatch.setattr(archives, "UNPACKED_BYTES", 5_000_000)
    monkeypatch.setattr(stills, "FILE_BYTES", 1_000_000)

    def bomb(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> Path:
        header = tarfile.TarInfo(name)
        header.size, header.type = size, kind
        with gzip.open(house / "a.tgz", "w") as file:
            file.write(header.tobuf(tarfile.GNU_FORMAT))
            for _ in range(12):
                file.write(bytes(1_000_000))
        return house / "a.tgz"

    refused(bomb("a/0.png", 12_000_000), r"a/0\.png in .*12 MB, and 1 are allowed")
    refused(bomb("notes.txt", 12_000_000), "more than 5 MB.*UNPACKED_BYTES")
    refused(bomb("a/0.png", 8 << 30), "too large|more than|unexpected end")
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE):  # a name of 12 MB, which tarfile reads whole
        refused(bomb("name", 12_000_000, kind), "would have to be read at once")
    refused(bomb("", 0), "no pictures|is no tar|more than 5 MB")


def test_too_many_files_are_refused(house, monkeypatch):
    monkeypatch.setattr(archives, "ENTRIES", 5)
    for path in (zipped(some(many=6), house / "a.zip"), tarred(some(many=6), house / "a.tar")):
        refused(path, "files. If you trust it, raise vg.data.archives.ENTRIES")
    refused(written(some(many=6), house / "pictures"), r"too many files.*vg\.data\.archives\.ENTRIES")


@pytest.mark.parametrize("name", ["../0.png", "a/../../0.png", "/a/../../0.png"])
def test_names_that_lead_out_of_the_archive_are_refused(house, name):
    for path in (zipped(some() | {name: b"x"}, house / "a.zip"), tarred(some() | {name: b"x"}, house / "a.tar")):
        refused(path, "leads out of its folder")
    assert not list(house.rglob("0.png"))


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("pixels", [10_000, 20_000])
def test_a_picture_with_more_pixels_than_pillow_allows_is_an_error(house, pixels):
    """10,000 a side are above Pillow's limit, where it warns; 20,000 above twice that."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = pixels.to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    path = written(some() | {"a/9.png": data}, house / "pictures")
    with pytest.raises(BadImages, match=r"a/9\.png in .*decompression bomb"):
        list(image_files.read(image_files.find_pictures(path), 32))
    with pytest.raises(BadImages, match=r"9\.png.*decompression bomb"):
        first_frames(path / "a" / "9.png", 32, 1)


@pytest.mark.usefixtures("little_memory")
def test_a_file_too_large_for_a_picture_is_not_read(house):
    path = written(some(), house / "pictures")
    with (path / "a" / "9.png").open("wb") as file:
        file.truncate(1 << 40)  # takes no room
    with pytest.raises(BadImages, match=r"a/9\.png in .*FILE_BYTES"):
        list(image_files.read(image_files.find_pictures(path), 32))


def test_a_program_in_a_pictures_name_is_not_run(house):
    """Pillow would have Ghostscript draw PostScript, whatever the file is called."""
    path = written(some() | {"a/9.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"}, house / "pictures")
    with pytest.raises(BadImages, match=r"a/9\.png in .*no picture"):
        list(image_files.read(image_files.find_pictures(path), 32))
