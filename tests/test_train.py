"""Laws of training by name: every name leads to a function, and what is measured is what ships."""

import inspect

import numpy as np
import pytest
import torch

from vg import checkpoints
from vg.data import cartoon, open_store
from vg.models import TubeletConfig, TubeletTokenizer
from vg.train import TRAINERS, main, shipping, trainer
from vg.train.prior import corners
from vg.training import Trained


@pytest.mark.parametrize("name", TRAINERS)
def test_every_name_has_a_function_that_takes_a_folder(name):
    first, *others = inspect.signature(trainer(name)).parameters.values()
    assert first.name == "to" and all(p.default is not p.empty for p in others)


def test_help_lists_every_name(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert all(f"  {name} " in said for name in TRAINERS)


def test_a_name_that_there_is_not_is_refused_with_those_that_there_are(capsys):
    with pytest.raises(SystemExit):
        main(["tubelet-fsq-46"])
    assert "tubelet-fsq-64" in capsys.readouterr().err


def test_what_is_measured_is_what_ships(tmp_path, capsys):
    torch.manual_seed(0)
    model = TubeletTokenizer(TubeletConfig())
    seen = []

    def measure(loaded):
        seen.append(loaded)
        return {"psnr": 1.5}

    trained = Trained(model, {}, seconds=12.4)
    shipped = shipping.ship("small", trained, {"data": "drawn"}, measure, tmp_path)
    assert seen == [shipped] and not shipped.training
    again = checkpoints.load("small", tmp_path)
    for (name, ours), theirs in zip(again.state_dict().items(), shipped.state_dict().values()):
        assert torch.equal(ours, theirs), name
    changed = [not torch.equal(a, b) for a, b in zip(model.parameters(), shipped.parameters())]
    assert any(changed)  # half precision is not what was trained
    facts = checkpoints.card("small", tmp_path).facts
    assert facts == {"data": "drawn", "seconds": 12, "metrics": {"psnr": 1.5}}
    assert "1.5" in capsys.readouterr().out


def test_corners_are_the_four_corners_of_every_frame_under_names_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("VG_CACHE", str(tmp_path))
    store = open_store(cartoon(), size=32, frames=30)
    made = corners(store, size=24)  # three quarters of the side, so nothing has to be resized
    for corner, (y, x) in zip(made, ((0, 0), (0, 8), (8, 0), (8, 8)), strict=True):
        assert np.array_equal(corner.frames, store.frames[..., y : y + 24, x : x + 24])
        assert corner.shots == store.shots and corner.source_sha256 == store.source_sha256
    assert len({corner.name for corner in made} | {corner.key for corner in made} | {store.name, store.key}) == 10
    assert {corner.frames.shape[-2:] for corner in corners(store, size=16)} == {(16, 16)}
