"""Laws of the images: the right ones are found, whole or not at all; what is served is what was in the files."""

import hashlib
import io
import os
import pickle
import re
import tarfile
import threading
import zipfile
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR10

from vg.data import BadImages, cifar, cifar10, download, image_drawings, image_folder, image_store, sources
from vg.experiments.batches import image_batches

CLASSES = cifar.CLASSES


@pytest.fixture(autouse=True)
def house(tmp_path, monkeypatch):
    """A repository of its own, profile laptop, no $VG_DATA, no network, no waiting between attempts."""
    monkeypatch.setattr(sources.paths, "root", lambda: tmp_path)
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/nothing")
    monkeypatch.setattr(cifar.cifar10, "__defaults__", (True, ("http://127.0.0.1:9/mirror",)))
    monkeypatch.setenv("VG_PROFILE", "laptop")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in ("VG_DATA", "VG_CACHE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "data").mkdir()
    return tmp_path


def noise(*name, size=(32, 32), mode="RGB") -> Image.Image:
    """A picture of its own for every name."""
    channels = {"RGB": 3, "RGBA": 4, "L": 1}[mode]
    seed = int.from_bytes(hashlib.sha256(repr(name).encode()).digest()[:4], "big")
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], channels), np.uint8)
    return Image.fromarray(pixels.squeeze(), mode=None)


def png(image: Image.Image, form="PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, form)
    return file.getvalue()


def layout(many=2, classes=CLASSES, splits=("train", "test"), ending="png") -> dict[str, bytes]:
    """Names and bytes of pictures in ``train/<class>/`` and ``test/<class>/``."""
    names = [f"{s}/{c}/{i:04}.{ending}" for s in splits for c in classes for i in range(many)]
    return {name: png(noise(name)) for name in names}


def folder_of(files: dict[str, bytes], path: Path) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def zip_of(files: dict[str, bytes], path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tar_of(files: dict[str, bytes], path: Path) -> Path:
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def left_behind(house: Path) -> list[str]:
    """Everything in the cache but finished sets, and locks, which nobody holds."""
    there = [p for p in (house / "data" / "cache").rglob("*") if p.is_file() and p.suffix != ".lock"]
    return [str(p) for p in there if p.parent.name.startswith(".") or not (p.parent / "images.json").is_file()]


def served(images) -> dict[bytes, tuple[str, str]]:
    """Of every image its pixels, with its side and class."""
    sides = {"train": images.train, "test": images.test}
    return {
        side.pixels[i].tobytes(): (name, images.classes[side.labels[i]])
        for name, side in sides.items()
        for i in range(len(side))
    }


def expected(files: dict[str, bytes]) -> dict[bytes, tuple[str, str]]:
    out = {}
    for name, data in files.items():
        side, kind, _ = name.split("/")[-3:]
        out[np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).transpose(2, 0, 1).tobytes()] = (side, kind)
    return out


# What is served


@pytest.mark.parametrize("make", [folder_of, zip_of, tar_of])
@pytest.mark.parametrize("around", ["", "cifar10/", "some/where/"])
def test_every_picture_is_served_once_on_its_side_in_its_class(house, make, around):
    files = {around + name: data for name, data in layout(3).items()}
    ending = {folder_of: "", zip_of: ".zip", tar_of: ".tgz"}[make]
    images = image_folder(make(files, house / f"pictures{ending}"))
    assert images.classes == CLASSES
    assert (len(images.train), len(images.test)) == (30, 30)
    assert served(images) == expected(files)


def test_a_set_is_unit_range_outside_and_bytes_inside(house):
    images = image_folder(folder_of(layout(3), house / "pictures"))
    side = images.train
    assert side.pixels.dtype == np.uint8 and side.pixels.shape == (30, 3, 32, 32) and side.labels.dtype == torch.int64
    assert isinstance(side.pixels, np.memmap) and not side.pixels.flags.writeable
    taken = side.take([4, 0, 4])
    assert taken.dtype == torch.float32 and taken.shape == (3, 3, 32, 32)
    assert torch.equal(taken[0], taken[2])
    back = ((taken + 1) * 127.5).round().byte()
    assert np.array_equal(back.numpy(), side.pixels[[4, 0, 4]])
    assert torch.equal(side.take(torch.tensor([4, 0, 4])), taken) and torch.equal(
        side.take(range(2)), side.take([0, 1])
    )
    assert side.take([]).shape == (0, 3, 32, 32)
    with pytest.raises(IndexError):
        side.take([30])
    extremes = {"a/0.png": png(Image.new("RGB", (32, 32))), "a/1.png": png(Image.new("RGB", (32, 32), "white"))}
    both = image_folder(folder_of(extremes, house / "extremes"))
    assert sorted([float(both.train.take([0]).mean()), float(both.test.take([0]).mean())]) == [-1.0, 1.0]


def test_samples_come_with_their_labels_and_from_the_generator(house):
    images = image_folder(folder_of(layout(3), house / "pictures"))
    draws = [images.train.sample(200, torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    assert torch.equal(draws[0][0], draws[1][0]) and torch.equal(draws[0][1], draws[1][1])
    assert not torch.equal(draws[0][0], draws[2][0])
    pixels, labels = draws[0]
    known = {images.train.pixels[i].tobytes(): int(images.train.labels[i]) for i in range(30)}
    assert [known[((p + 1) * 127.5).round().byte().numpy().tobytes()] for p in pixels] == labels.tolist()
    assert len(set(((pixels + 1) * 127.5).round().byte().flatten(1).sum(1).tolist())) == 30


def test_batches_are_mirrored_half_of_the_time(house):
    images = image_folder(folder_of(layout(3), house / "pictures"))
    plain = image_batches(images.train, 400, mirrored=False)(torch.Generator().manual_seed(0))
    turned = image_batches(images.train, 400)(torch.Generator().manual_seed(0))
    same = (plain == turned).flatten(1).all(1)
    mirrored = (plain.flip(-1) == turned).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert 150 < int(mirrored.sum()) < 250


def test_the_first_of_each_side_are_a_fair_sample(house):
    images = image_folder(folder_of(layout(20), house / "pictures"))
    for side in (images.train, images.test):
        assert torch.bincount(side.labels, minlength=10).tolist() == [20] * 10
        assert len(set(side.labels[:50].tolist())) >= 8


def test_it_is_decoded_once_and_again_when_the_source_changes(house, monkeypatch):
    files = layout(2)
    path = zip_of(files, house / "pictures.zip")
    first = image_folder(path)
    with monkeypatch.context() as patch:
        patch.setattr(image_store, "_fill", lambda *a: pytest.fail("decoded again"))
        again = image_folder(path)
    assert again.sha256 == first.sha256 and served(again) == served(first)
    assert image_folder(path, size=16).train.pixels.shape[2:] == (16, 16)
    name = next(iter(files))
    files[name] = png(noise("another"))
    zip_of(files, path)
    os.utime(path, ns=(1, 1))
    assert served(image_folder(path)) == expected(files)
    assert image_folder(path).sha256 != first.sha256
    place = folder_of(files, house / "folder")
    assert served(image_folder(place)) == expected(files)
    (place / name).write_bytes(png(noise("a third")))
    os.utime(place / name, ns=(1, 1))
    assert served(image_folder(place)) != expected(files)


def test_a_damaged_cache_is_made_anew(house):
    path = zip_of(layout(2), house / "pictures.zip")
    first = image_folder(path)
    (first.folder / "test.npy").write_bytes(b"half")
    assert served(image_folder(path)) == expected(layout(2))


# A folder of one's own


def test_without_a_test_folder_every_tenth_of_a_class_is_held_out(house):
    files = {f"{kind}/{i}.png": png(noise(kind, i)) for kind, many in (("cat", 40), ("dog", 20)) for i in range(many)}
    for name, made in (("mine", files), ("wrapped", {f"train/{k}": v for k, v in files.items()})):
        images = image_folder(folder_of(made, house / name))
        assert images.classes == ("cat", "dog")
        assert torch.bincount(images.train.labels).tolist() == [36, 18]
        assert torch.bincount(images.test.labels).tolist() == [4, 2]
        assert len(served(images)) == 60


@pytest.mark.parametrize("where", ["", "cats/", "train/"])
def test_pictures_side_by_side_are_one_class(house, where):
    images = image_folder(folder_of({f"{where}{i}.png": png(noise(i)) for i in range(2)}, house / "cats"))
    assert images.classes == ("cats",)
    assert (len(images.train), len(images.test)) == (1, 1)
    assert "in one class" in images.describe()


def test_what_is_no_picture_is_passed_over(house):
    files = layout(1) | {".DS_Store": b"x", "train/cat/Thumbs.db": b"x", "labels.txt": b"x", "train/cat/.0.png": b"x"}
    files |= {"__MACOSX/train/cat/0.png": b"x"}
    for path in (folder_of(files, house / "pictures"), zip_of(files, house / "pictures.zip")):
        assert served(image_folder(path)) == expected(layout(1))


def flat(image: Image.Image, form="PNG", ending="png", size=32) -> np.ndarray:
    """How one picture is served: uint8 (H, W, 3)."""
    place = Path(sources.paths.root()) / f"one-{len(list(Path(sources.paths.root()).iterdir()))}"
    files = {f"a/0.{ending}": png(image, form), f"a/1.{ending}": png(image, form)}
    return np.moveaxis(image_folder(folder_of(files, place), size).train.pixels[0], 0, -1)


def test_grey_palette_alpha_and_sixteen_bits_become_rgb():
    grey = noise("grey", mode="L")
    assert np.array_equal(flat(grey), np.repeat(np.asarray(grey)[..., None], 3, -1))
    colour = Image.new("RGB", (32, 32), (200, 10, 90))
    assert np.array_equal(flat(colour.convert("P", palette=Image.Palette.ADAPTIVE)), np.asarray(colour))
    glass = Image.new("RGBA", (32, 32), (200, 10, 90, 0))
    assert (flat(glass) == 255).all()
    glass.putalpha(255)
    assert np.array_equal(flat(glass), np.asarray(colour))
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    assert np.array_equal(flat(deep), flat(grey))


def test_the_middle_square_counts_and_is_made_to_size():
    wide = Image.new("RGB", (300, 100), "red")
    wide.paste("blue", (100, 0, 200, 100))
    assert (flat(wide) == (0, 0, 255)).all()
    photo = flat(wide, "JPEG", "jpg", size=8)  # decoded at a quarter of its size
    assert np.abs(photo[:, 2:-2] - np.array((0.0, 0, 254))).max() < 6
    high = wide.rotate(90, expand=True)
    assert (flat(high, size=48) == (0, 0, 255)).all()
    assert (flat(Image.new("RGB", (3, 5), "red")) == (255, 0, 0)).all()
    first = [Image.new("RGB", (32, 32), c) for c in ("red", "blue")]
    moving = io.BytesIO()
    first[0].save(moving, "GIF", save_all=True, append_images=first[1:])
    assert (flat(Image.open(moving), "GIF", "gif") == (255, 0, 0)).all()


def test_a_camera_held_upright_is_heeded():
    image = Image.new("RGB", (32, 32), "red")
    image.paste("blue", (0, 0, 32, 16))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    file = io.BytesIO()
    image.save(file, "PNG", exif=exif)
    place = Path(sources.paths.root()) / "turned"
    images = image_folder(folder_of({"0.png": file.getvalue(), "1.png": file.getvalue()}, place))
    assert tuple(images.train.pixels[0, :, 0, 0]) == (255, 0, 0)


# What cannot be used


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.zip", b"no zip", r"a\.zip is no zip.*Copy or download it again"),
        ("a.tar.gz", b"no tar", r"a\.tar\.gz is no tar"),
        ("a.png", png(Image.new("RGB", (4, 4))), r"a\.png is one file.*folder it lies in"),
    ],
)
def test_a_file_that_is_no_archive_is_named(house, name, data, said):
    (house / name).write_bytes(data)
    with pytest.raises(BadImages, match=said):
        image_folder(house / name)


@pytest.mark.parametrize("make", [folder_of, zip_of, tar_of])
@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"notes.txt": b"x"}, "holds no pictures"),
        ({"a/0.png": png(noise(0))}, "one picture only"),
        ({"a/0.png": png(noise(0)), "a/1.png": b"no picture"}, r"a/1\.png in .* cannot be read as a picture"),
        ({"a/0.png": png(noise(0)), "a/1.png": png(noise(1))[:900]}, r"a/1\.png in .* cannot be read as a picture"),
        ({"a/0.png": png(noise(0)), "a/1.png": b""}, r"a/1\.png in .* cannot be read"),
        ({"a/0.png": png(noise(0)), "1.png": png(noise(1))}, r"beside them \(1\.png"),
        ({"test/a/0.png": png(noise(0)), "test/a/1.png": png(noise(1))}, "none to train on"),
        ({"train/a/0.png": png(noise(0)), "test/b/1.png": png(noise(1))}, "class 'b' has pictures to test on and none"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_left_behind(house, make, files, said):
    ending = {folder_of: "", zip_of: ".zip", tar_of: ".tar.gz"}[make]
    with pytest.raises(BadImages, match=said):
        image_folder(make(files, house / f"pictures{ending}"))
    assert left_behind(house) == []
    assert list((house / "data").rglob("*.npy")) == []


def test_a_truncated_archive_is_said(house):
    for path in (zip_of(layout(2), house / "a.zip"), tar_of(layout(2), house / "b.tgz")):
        path.write_bytes(path.read_bytes()[:-20_000])
        with pytest.raises(BadImages, match=f"{path.name} is no (zip|tar) that can be read"):
            image_folder(path)
    assert left_behind(house) == []


def test_wrong_arguments_are_said(house):
    with pytest.raises(FileNotFoundError, match=r"nothing at .*nowhere"):
        image_folder(house / "nowhere")
    with pytest.raises(ValueError, match="size is 0"):
        image_folder(house, size=0)
    with pytest.raises(ValueError, match="train 0 and test 5"):
        image_drawings(train=0, test=5)


def test_a_full_disk_is_said_before_anything_is_written(house, monkeypatch):
    full = type("usage", (), {"free": 1000})
    monkeypatch.setattr(image_store.shutil, "disk_usage", lambda path: full)
    with pytest.raises(OSError, match=r"cannot be written.*MB are needed.*Make room there, or set VG_CACHE"):
        image_folder(folder_of(layout(2), house / "pictures"))
    assert left_behind(house) == []


# CIFAR-10: finding it


def batches(many=3) -> dict[str, bytes]:
    """torchvision's files, as small as they can be, and as Python 2 has written them."""
    rng, files = np.random.default_rng(0), {}
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        record = {
            "data": rng.integers(0, 256, (many, 3072), np.uint8),
            "labels": rng.integers(0, 10, many).tolist(),
            "filenames": [f"{i}.png" for i in range(many)],
        }
        files[f"cifar-10-batches-py/{name}"] = pickle.dumps(record, protocol=2)
    files["cifar-10-batches-py/batches.meta"] = pickle.dumps({"label_names": list(CLASSES)}, protocol=2)
    return files


@pytest.fixture
def official(monkeypatch) -> dict[str, bytes]:
    """torchvision's files, with its checksums made to fit."""
    files = batches()
    md5 = {name.split("/")[1]: hashlib.md5(data).hexdigest() for name, data in files.items()}
    monkeypatch.setattr(CIFAR10, "train_list", [[f"data_batch_{i}", md5[f"data_batch_{i}"]] for i in range(1, 6)])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", md5["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": md5["batches.meta"]})
    return files


def check_official(images, root: Path) -> None:
    """That the images are those that torchvision's own loader has, in its order."""
    for side, train in ((images.train, True), (images.test, False)):
        theirs = CIFAR10(root, train=train)
        assert np.array_equal(side.pixels, theirs.data.transpose(0, 3, 1, 2))
        assert side.labels.tolist() == theirs.targets
        assert list(images.classes) == theirs.classes


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("inside", ["", "cifar10"])
def test_torchvisions_folder_and_its_tar_are_served_as_torchvision_does(house, official, inside, monkeypatch):
    root = folder_of(official, house / "data" / inside)
    images = cifar10()
    check_official(images, root)
    assert (images.name, images.path) == ("cifar10", root / "cifar-10-batches-py")
    other = house / "elsewhere" / inside
    other.mkdir(parents=True)
    tar = tar_of(official, other / cifar.TAR)
    assert cifar.find_cifar10(house / "elsewhere") == tar
    monkeypatch.setenv("VG_DATA", str(house / "elsewhere"))
    again = cifar10()
    assert again.path == tar and again.sha256 == images.sha256


@pytest.mark.usefixtures("offline")
def test_a_pickle_with_the_wrong_checksum_is_never_opened(house, official, monkeypatch):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(house / "sprung"),))

    official["cifar-10-batches-py/data_batch_3"] = pickle.dumps(Trap())
    for name, make in (("data", folder_of), ("other", lambda f, p: tar_of(f, p / cifar.TAR))):
        (house / name).mkdir(exist_ok=True)
        make(official, house / name)
        monkeypatch.setenv("VG_DATA", str(house / name))
        with pytest.raises(BadImages, match=r"damaged \(data_batch_3 has the wrong checksum\)\. Delete it"):
            cifar10()
    assert not (house / "sprung").exists()
    assert left_behind(house) == []


@pytest.mark.usefixtures("offline")
def test_half_of_torchvisions_folder_gives_way_to_its_tar(house, official):
    tar_of(official, house / "data" / cifar.TAR)
    folder_of({k: v for k, v in official.items() if "batch_5" not in k}, house / "data")
    assert cifar10().path.name == cifar.TAR
    (house / "data" / cifar.TAR).write_bytes(b"half a file")
    with pytest.raises(BadImages, match=r"cifar-10-python\.tar\.gz is damaged"):
        cifar10()


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (zip_of, "cifar10.zip"),
        (zip_of, "CIFAR-10 images.ZIP"),
        (zip_of, "my cifar pictures.zip"),
        (zip_of, "pictures.zip"),
        (tar_of, "cifar10.tgz"),
        (tar_of, "cifar_10.tar.gz"),
        (folder_of, "cifar10"),
        (folder_of, "pictures"),
        (folder_of, "."),
    ],
)
def test_pictures_of_cifar10_are_found_under_many_names(house, make, name):
    files = layout(1)
    for other in ("cifar-100.zip", "holiday.zip", "cifar100-images.zip"):
        zip_of(layout(1, classes=("cat", "dog")), house / "data" / other)
    (house / "data" / "broken.zip").write_bytes(b"no zip, and none of ours")
    (house / "data" / "cifar-10-binary.tar.gz").write_bytes(b"another form")
    (house / "data" / "cifar10-notes").mkdir()
    assert cifar.find_cifar10(house / "data") is None
    make(files, house / "data" / name)
    images = cifar10()
    assert images.path == house / "data" / name and images.name == "cifar10"
    assert served(images) == expected(files)


@pytest.mark.usefixtures("offline")
def test_pictures_wrapped_in_a_folder_are_found(house):
    zip_of({f"cifar10/{k}": v for k, v in layout(1).items()}, house / "data" / "pictures.zip")
    assert served(cifar10()) == expected(layout(1))


@pytest.mark.usefixtures("offline")
def test_a_cifar10_of_other_classes_is_an_error(house):
    zip_of(layout(1, classes=("airplane", "zebra")), house / "data" / "cifar10.zip")
    with pytest.raises(BadImages, match=r"10 classes of CIFAR-10.*differ in automobile.*train/airplane/"):
        cifar10()
    (house / "data" / "cifar10.zip").write_bytes(b"no zip")
    with pytest.raises(BadImages, match=r"cifar10\.zip is no zip"):
        cifar10()
    assert left_behind(house) == []


@pytest.mark.usefixtures("offline")
def test_vg_data_comes_before_data_and_a_mistyped_one_is_an_error(house, monkeypatch):
    for name in ("data", "elsewhere"):
        folder_of(layout(1), house / name / "cifar10")
    assert cifar10().path == house / "data" / "cifar10"
    monkeypatch.setenv("VG_DATA", str(house / "elsewhere"))
    assert cifar10().path == house / "elsewhere" / "cifar10"
    monkeypatch.setenv("VG_DATA", "/no/such/folder")
    with pytest.raises(FileNotFoundError, match="VG_DATA is '/no/such/folder'"):
        cifar10()


@pytest.mark.usefixtures("offline")
def test_one_line_says_what_it_is_and_where(house):
    path = zip_of(layout(2), house / "data" / "cifar10.zip")
    size = f"{path.stat().st_size / 1e6:.1f} MB"
    line = f"cifar10: CIFAR-10, 20 + 20 images of 32x32 in 10 classes, data/cifar10.zip ({size})"
    assert cifar10().describe() == line


# CIFAR-10: downloading it


@dataclass
class Mirror:
    """Local servers of one file, by path; ``drop`` has bytes to send before hanging up, for each coming answer."""

    base: str = ""
    bodies: dict = field(default_factory=dict)
    drop: dict = field(default_factory=dict)
    served: list = field(default_factory=list)  # path and first byte of each answer that was no question for a size


@pytest.fixture
def mirror(official, house, monkeypatch):
    state = Mirror()
    body = tar_of(official, house / "made.tgz").read_bytes()
    state.bodies = {"/a": body, "/b": body, "/toronto": body}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args):
            pass

        def do_GET(self):
            body = state.bodies.get(self.path)
            self.send_response(404 if body is None else 206)
            first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "bytes=0-")).groups()
            part = (body or b"")[int(first) : int(last) + 1 if last else None]
            self.send_header("Content-Range", f"bytes {first}-{len(body or b'') - 1}/{len(body or b'')}")
            self.send_header("Content-Length", str(len(part)))
            self.send_header("Connection", "close")
            self.end_headers()
            if not last:
                state.served.append((self.path, int(first)))
                drops = state.drop.get(self.path, [])
                part = part[: drops.pop(0)] if drops else part
            self.wfile.write(part)
            self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    state.base = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(cifar, "TAR_BYTES", len(body))
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(body).hexdigest())
    monkeypatch.setattr(CIFAR10, "url", f"{state.base}/toronto")
    yield state
    server.shutdown()
    server.server_close()


def addresses(mirror: Mirror, *names: str) -> tuple[str, ...]:
    return tuple(mirror.base + name for name in names)


def test_it_is_downloaded_once_and_found_ever_after(mirror, house, official, capsys):
    images = cifar10(mirrors=addresses(mirror, "/a", "/b"))
    assert images.path == house / "data" / cifar.TAR
    assert mirror.served == [("/a", 0)]
    assert cifar10(mirrors=()).path == images.path
    assert len(mirror.served) == 1
    check_official(images, folder_of(official, house / "reference"))
    assert "Drawing" not in capsys.readouterr().out


def test_the_next_mirror_goes_on_where_one_broke_off(mirror, house):
    mirror.drop["/a"] = [30_000] + [0] * download.ATTEMPTS
    assert cifar10(mirrors=addresses(mirror, "/a", "/b")).path.is_file()
    assert mirror.served[-1] == ("/b", 30_000)
    assert list((house / "data").glob("*.part")) == []


@pytest.mark.parametrize("trouble", ["wrong bytes", "another size", "missing"])
def test_a_mirror_with_another_file_is_left_for_torchvisions_address(mirror, trouble):
    body = mirror.bodies["/a"]
    mirror.bodies["/a"] = {"wrong bytes": body[:-1] + b"?", "another size": body + b"?", "missing": None}[trouble]
    assert len(cifar10(mirrors=addresses(mirror, "/a")).train) == 15
    assert mirror.served[-1] == ("/toronto", 0)


def test_a_download_that_breaks_off_everywhere_is_an_error_and_keeps_its_part(mirror, house):
    mirror.drop = {name: [20_000] + [0] * 50 for name in mirror.bodies}
    with pytest.raises(download.DownloadError, match="goes on where it stopped"):
        cifar10(mirrors=addresses(mirror, "/a", "/b"))
    mirror.drop = {}
    assert cifar10(mirrors=addresses(mirror, "/a")).path.is_file()
    assert mirror.served[-1][1] > 0


def test_torchvision_still_has_the_checksum_that_it_had():
    assert CIFAR10.tgz_md5 == "c58f30108f718f92721af3b95e74349a"
    assert CIFAR10.filename == cifar.TAR and CIFAR10.base_folder == cifar.BATCHES


# Falling back


def test_without_a_network_drawings_are_served_and_one_line_says_why(capsys, monkeypatch):
    monkeypatch.setattr(cifar, "image_drawings", lambda **many: many)
    assert cifar10() == {"train": 20_000, "test": 2_000}
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("Drawing small pictures instead of CIFAR-10: it is not on disk and cannot be downloaded: ")
    assert "127.0.0.1:9/mirror cannot be reached" in line and "127.0.0.1:9/nothing cannot be reached" in line


def test_servers_that_never_answer_are_not_waited_for(monkeypatch):
    never = threading.Event()

    def wait(*args, **kwargs):
        never.wait()
        raise OSError("at last")

    monkeypatch.setattr(download.web, "urlopen", wait)
    files = [download.RemoteFile("x", f"http://{i}", 1, "md5:0") for i in range(20)]
    with pytest.raises(download.Unreachable, match=r"http://3 cannot be reached \(no answer within 0\.05 seconds\)"):
        download.answering(files, timeout=0.05)
    never.set()


@pytest.mark.usefixtures("offline")
def test_profile_smoke_has_drawings_whatever_lies_on_disk(house, monkeypatch, capsys):
    zip_of(layout(1), house / "data" / "cifar10.zip")
    monkeypatch.setenv("VG_PROFILE", "smoke")
    monkeypatch.setenv("VG_DATA", "/no/such/folder")
    images = cifar10()
    assert (images.name, images.path, len(images.classes)) == ("drawings", None, 10)
    assert images.train.pixels.shape[1:] == (3, 32, 32)
    assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.usefixtures("offline")
def test_download_false_touches_no_network(capsys, monkeypatch):
    monkeypatch.setattr(cifar, "image_drawings", lambda **many: many)
    cifar10(download=False)
    assert "download=False" in capsys.readouterr().out


# Drawings


def test_drawings_are_seeded_and_more_begin_with_fewer():
    few, more, other = image_drawings(0, 20, 10), image_drawings(0, 30, 20), image_drawings(1, 20, 10)
    assert np.array_equal(few.train.pixels, more.train.pixels[:20])
    assert np.array_equal(few.test.pixels, more.test.pixels[:10])
    assert (few.train.pixels != other.train.pixels).any(axis=(1, 2, 3)).all()
    everything = [p.tobytes() for images in (more, other) for side in (images.train, images.test) for p in side.pixels]
    assert len(set(everything)) == len(everything)
    assert few.train.labels.tolist() == [*range(10), *range(10)]


def test_a_class_of_drawings_can_be_told_from_the_others():
    """Nearest class mean, on pixels alone, is far above chance (0.1) and far from perfect."""
    images = image_drawings(0, 300, 100)
    pixels, labels = images.train.take(range(300)).flatten(1), images.train.labels
    means = torch.stack([pixels[labels == k].mean(0) for k in range(10)])
    guess = torch.cdist(images.test.take(range(100)).flatten(1), means).argmin(1)
    assert 0.3 < (guess == images.test.labels).float().mean() < 0.95
    assert pixels.view(300, 3, -1).std(2).mean() > 0.15  # there is something in them
