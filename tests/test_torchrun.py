"""A whole experiment as ``torchrun`` starts it: two processes leave what one leaves."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_film import TINY, moving

from vg import checkpoints
from vg.data import save
from vg.train import main

ROOT = Path(__file__).resolve().parent.parent
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
SHARED = ["--micro-batches", "2"]  # a step's batch in two pieces, in one process or in two
LITTLE = ["--sampling.measured", "2", "--sampling.clips", "1", "--sampling.frames", "20"]
LONGEST = 150  # seconds, after which what hangs is ended


def together(arguments: list[str], environment: dict[str, str]) -> str:
    """The command in two processes, ended with all that it started if it hangs; what it says."""
    command = [*TORCHRUN, "-m", "vg.train", *arguments]
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True, **pipe) as process:
        try:
            said, _ = process.communicate(timeout=LONGEST)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, said
    return said


@pytest.mark.skipif(sys.platform == "win32", reason="no process groups")
@pytest.mark.timeout(2 * LONGEST)
def test_two_processes_make_of_a_film_what_one_makes(tmp_path, monkeypatch):
    film = save(tmp_path / "mine.mp4", moving(90), fps=12)
    command = ["--film", str(film), *TINY, *SHARED, *LITTLE]
    settings = {"VG_CACHE": str(tmp_path / "cache"), "VG_PROFILE": "smoke", "OMP_NUM_THREADS": "1"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("VG_RUNS", str(tmp_path / "one"))
    assert main(list(command)) == 0
    said = together(command, {**os.environ, "VG_RUNS": str(tmp_path / "two")})
    assert said.count("done: ") == 1, "rank 0 alone prints"
    [one], [two] = (list((tmp_path / n).glob("mine-*/")) for n in ("one", "two"))
    assert one.name == two.name, "the same experiment, by its hash"
    assert {path.name for path in one.iterdir()} == {path.name for path in two.iterdir()}
    for part in ("tokenizer", "features", "prior"):
        ours, theirs = (checkpoints.load(part, folder).state_dict() for folder in (one, two))
        for key, value in ours.items():
            torch.testing.assert_close(theirs[key], value, atol=2e-5, rtol=1e-3, msg=f"{part}: {key}")
    ours, theirs = (json.loads((folder / "numbers.json").read_text()) for folder in (one, two))
    assert ours["tokenizer"]["psnr"] == pytest.approx(theirs["tokenizer"]["psnr"], rel=1e-3)
