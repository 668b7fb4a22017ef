"""Laws of the commands: what cannot be had is one sentence before the work begins, and exit code 2."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from faults import damaged

import vg.generate
import vg.train
from vg import atomic, checkpoints
from vg.data.download import DiskFull
from vg.experiments import run as experiments_run
from vg.generate import main as generate_clips
from vg.models import TubeletConfig, TubeletTokenizer
from vg.train import main as train_model
from vg.training import Trained


@pytest.fixture(autouse=True)
def nothing_is_made(monkeypatch):
    monkeypatch.setattr(vg.generate, "generate_each", lambda *_, **__: pytest.fail("it began"))


def error_of(capsys, command, *arguments) -> str:
    """What a command that fails says."""
    with pytest.raises(SystemExit) as ended:
        command([str(each) for each in arguments])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and "Traceback" not in said
    return said


def test_a_folder_that_cannot_be_is_named_before_anything_is_drawn_or_trained(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(experiments_run.training, "fit", lambda *_, **__: pytest.fail("it began"))
    monkeypatch.setenv("VG_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(checkpoints, "load", lambda *_: pytest.fail("it began"))
    (tmp_path / "file").write_text("")
    for to in (tmp_path / "file", tmp_path / "file" / "out" / "more"):
        for command, name in ((generate_clips, ()), (train_model, ("vae-cifar10",))):
            said = error_of(capsys, command, *name, "--to", to)
            assert f"{to} cannot be written" in said and said.count("\n") == 1


@pytest.mark.parametrize("what", ["weights", "card", "missing weights", "missing"])
def test_a_bad_checkpoint_is_named(what, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(checkpoints, "folder", lambda: tmp_path)
    torch.manual_seed(0)
    checkpoints.save("tubelet-fsq-64", TubeletTokenizer(TubeletConfig(width=16)), {})
    path = tmp_path / f"tubelet-fsq-64.{'json' if 'card' in what else 'safetensors'}"
    if what == "missing":
        shutil.rmtree(tmp_path)
    elif what == "missing weights":
        path.unlink()
    else:
        path.write_bytes(damaged(path.read_bytes(), random.Random(1)))
    said = error_of(capsys, generate_clips, "--size", "64", "--to", tmp_path.parent / "out")
    assert "-64" in said and said.count("\n") == 1


@pytest.mark.parametrize(
    "wrong",
    [
        ("--frames", "0"),
        ("--frames", "-8"),
        ("--count", "0"),
        ("--count", "2.5"),
        ("--seed", "-1"),
        ("--size", "65"),
        ("--frames", "4000000000"),
        ("--seed", "9" * 40),
    ],
    ids=" ".join,
)
def test_numbers_out_of_range_are_refused(wrong, tmp_path, capsys):
    assert wrong[0] in error_of(capsys, generate_clips, *wrong, "--to", tmp_path / "out")


def test_stopped_commands_say_so_and_nothing_half_trained_ships(tmp_path, monkeypatch, capsys):
    def stopped(model, *_, **__):
        return Trained(model, {}, 1.0, stopped=True)

    monkeypatch.setenv("VG_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(experiments_run.training, "fit", stopped)
    assert train_model(["vae-cifar10", "--to", str(tmp_path / "to")]) == 130
    assert "goes on where it was" in capsys.readouterr().err and not list(tmp_path.rglob("*.safetensors"))

    def press(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(vg.generate, "make", press)
    assert generate_clips(["--to", str(tmp_path)]) == 130


def test_trying_a_folder_leaves_nothing(tmp_path):
    atomic.check_writable(tmp_path / "a" / "b")
    atomic.check_writable(tmp_path)
    assert not list(tmp_path.iterdir())


def test_ctrl_c_ends_the_drawing_of_clips_and_keeps_what_is_drawn(tmp_path):
    clips = [sys.executable, "-m", "vg.generate", "--size", "64", "--frames", "4000", "--count", "2", "--to", tmp_path]
    with subprocess.Popen(clips, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        said = ""
        while not re.search(r"\b([7-9]\d\d|\d{4,})/\d+", said):  # two latent frames of one clip are drawn
            more = process.stderr.read(1)
            assert more, said  # it has ended before its time
            said = said[-80:] + more
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 130 and "Interrupted" in said and said.endswith("Stopped.\n")
    assert {path.suffix for path in tmp_path.iterdir()} == {".gif", ".mp4"}


def test_a_download_that_breaks_off_is_one_sentence(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("VG_RUNS", str(tmp_path / "runs"))

    def film():
        raise DiskFull("the disk is full.")

    monkeypatch.setattr("vg.experiments.film.film", film)
    assert error_of(capsys, train_model).endswith("error: the disk is full.\n")


def test_a_name_that_the_terminal_cannot_show_is_printed_all_the_same():
    code = "from vg.progress import print_any_name; print_any_name(); print('\\u6620', '\\udce9')"
    environment = os.environ | {"PYTHONIOENCODING": "cp1252"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "\\u6620 \\udce9\n"), done.stderr


def test_both_commands_print_any_name(monkeypatch):
    for command in (vg.train, vg.generate):
        monkeypatch.setattr(command, "print_any_name", lambda: pytest.fail("it does"))
        with pytest.raises(pytest.fail.Exception, match="it does"):
            command.main([])
