"""Laws of training by name: every name leads to a function, and what is measured is what ships."""

import inspect
import math
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vg import checkpoints, latents
from vg.data import drawn_cartoon, open_store
from vg.generate import some_scenes
from vg.hashing import weight_hash
from vg.models import Prior, PriorConfig, TubeletConfig, TubeletTokenizer
from vg.train import TRAINERS, film, generated, main, shipping, tokenizer_facts, trainer
from vg.train import prior as prior_training
from vg.train.prior import (
    BATCH,
    WINDOW,
    cached_views,
    closer,
    corners,
    film_and_views,
    fresh_views,
    learn_layouts,
    open_cache,
    prior_facts,
    train_prior,
)
from vg.train.shipping import run_folder
from vg.training import Recipe, Trained


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
    store = open_store(drawn_cartoon(), size=32, frames=30)
    made = corners(store, size=24)  # three quarters of the side, so nothing has to be resized
    for corner, (y, x) in zip(made, ((0, 0), (0, 8), (8, 0), (8, 8)), strict=True):
        assert np.array_equal(corner.frames, store.frames[..., y : y + 24, x : x + 24])
        assert corner.shots == store.shots and corner.source_sha256 == store.source_sha256
    assert len({corner.name for corner in made} | {corner.key for corner in made} | {store.name, store.key}) == 10
    assert {corner.frames.shape[-2:] for corner in corners(store, size=16)} == {(16, 16)}


def test_views_from_nearer_are_squares_of_every_frame_and_every_second_runs_backwards(tmp_path, monkeypatch):
    monkeypatch.setenv("VG_CACHE", str(tmp_path))
    store = open_store(drawn_cartoon(), size=32, frames=240)
    assert len(store.shots) > 1
    slope = 2 * np.arange(32) + 4 * np.arange(32)[:, None]  # says where a pixel was
    store = replace(store, frames=np.broadcast_to(slope.astype(np.uint8), store.frames.shape).copy())
    store.frames[...] += (np.arange(240) % 50).astype(np.uint8)[:, None, None, None]  # and when
    made = list(closer(store, size=16, count=8))
    assert [view.key for view in made] == [view.key for view in closer(store, size=16, count=8)]
    assert len({view.name for view in made}) == len({view.key for view in made}) == 8
    squares = set()
    for k, view in enumerate(made):
        cut, y, x = map(int, re.search(r"(\d+) pixels from \((\d+), (\d+)\)", view.key).groups())
        squares.add((cut, y, x))
        assert 21 <= cut <= 30 and 0 <= y <= 32 - cut and 0 <= x <= 32 - cut
        assert view.shots == store.shots and view.frames.shape == (240, 1, 16, 16)
        middle = 2 * (x + cut / 2 - 0.5) + 4 * (y + cut / 2 - 0.5)
        for start, stop in view.shots:
            times = np.arange(start, stop)[:: -1 if k % 2 else 1] % 50
            assert np.abs(view.frames[start:stop].mean((1, 2, 3)) - middle - times).max() < 1
    assert len(squares) == 8


def test_a_run_that_is_made_from_something_else_has_another_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("VG_RUNS", str(tmp_path))
    made = [({"store": "a"}, "0f", 4), ({"store": "b"}, "0f", 4), ({"store": "a"}, "1e", 4), ({"store": "a"}, "0f", 3)]
    folders = [run_folder("small", "film", *parts) for parts in made]
    assert len(set(folders)) == len(made) and folders[0] == run_folder("small", "film", *made[0])
    assert all(folder.parent == tmp_path and folder.name.startswith("small-film-") for folder in folders)


def test_a_part_that_begins_with_other_weights_begins_anew(cache, tmp_path, monkeypatch):
    """Other first parts must not be followed by the second part of an older run."""
    short = Recipe(steps=1, lr=0.0, muon=1e-3, ema=0.0)
    monkeypatch.setattr(prior_training, "SHAPE", {"width": 8, "depth": 1, "heads": 2, "layouts": True})
    monkeypatch.setattr(prior_training, "MEASURED", 1)
    train, folder, last = cache.shots, tmp_path / "run", {}
    for name, first in {"a": short, "b": replace(short, seed=7), "a again": short}.items():
        monkeypatch.setattr(prior_training, "RECIPE", first)
        monkeypatch.setattr(prior_training, "CLOSER_RECIPE", replace(short, seed=1))
        shutil.rmtree(next(iter(tmp_path.glob("run-corners*")), tmp_path / "none"), ignore_errors=True)
        trained, how = train_prior([cache], [cache], [], train, train[-1:], folder)
        last[name] = weight_hash(trained.model)
        assert list(how["recipe"]) == ["corners", "closer"]
    assert last["a"] == last["a again"] != last["b"]


def test_codes_and_bits_of_a_tokenizer_are_counted_by_patch(tmp_path, monkeypatch):
    monkeypatch.setenv("VG_CACHE", str(tmp_path))
    store = open_store(drawn_cartoon(), size=32, frames=120)
    torch.manual_seed(0)
    tokenizer = TubeletTokenizer(TubeletConfig((2, 8, 8), (5, 5), (2, 2), width=16)).freeze()
    monkeypatch.setattr(film, "device", lambda: torch.device("meta"), raising=False)  # it is measured where it is
    facts = tokenizer_facts(tokenizer, store)
    assert (facts["tokens_a_clip"], facts["codes"]) == (8 * 2 * 2, 25)
    assert facts["bits_a_clip"] == pytest.approx(8 * 4 * 4 * math.log2(25), abs=0.1)
    assert 0 < facts["usage"] <= 1 and 1 <= facts["perplexity"] <= 25


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Two shots and more of the cartoon as tokens, two phases, mirrored too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VG_CACHE", str(tmp_path_factory.mktemp("cache")))
        store = open_store(drawn_cartoon(), size=16, frames=240)
        torch.manual_seed(0)
        tokenizer = TubeletTokenizer(TubeletConfig((2, 8, 8), (5, 5), width=16, encoder_depth=1, decoder_depth=1))
        folder = tmp_path_factory.mktemp("latents") / "film"
        yield latents.write(folder, tokenizer.freeze(), store, name="tiny", mirrored=True, phases=(0, 1))


def test_labels_are_of_the_film_as_it_is_and_views_of_it_come_without(cache):
    train = [shot for shot in cache.shots if shot[1] - shot[0] >= 2 * WINDOW + 2][1:]
    draw = film_and_views(cache, cached_views([cache, cache], train), train)
    plain = [view for view in cache.views if not view[1]]
    frame, kinds = cache.grid[0] * cache.grid[1], set()
    for seed in range(40):
        batch = draw(torch.Generator().manual_seed(seed))
        tokens, labels = batch[:, :-1], batch[:, -1]
        kinds.add((len(batch), tokens.shape[1] // frame, bool((labels >= 0).all())))
        assert (labels >= 0).all() or (labels == -1).all()
        for row, label in zip(tokens, labels.tolist()):
            if label >= 0:
                assert cache.shots[label] in train
                known = cache.windows(len(row) // frame, shots=[label], views=plain)
                assert (known.take(torch.arange(len(known))).flatten(1) == row).all(1).any(), "mirrored, or another's"
    assert kinds == {(3, WINDOW, True), (6, WINDOW // 2, True), (3, WINDOW, False)}


def test_the_share_of_views_is_what_was_asked_for(cache):
    train, nothing = cache.shots, torch.full((1, 1), -1)
    for share in (2, 4):
        draw = film_and_views(cache, [lambda generator: nothing], train, share)
        seen = [draw(torch.Generator().manual_seed(seed)) is nothing for seed in range(600)]
        assert np.mean(seen) == pytest.approx(share / (2 + share), abs=0.06)


def test_fresh_views_are_of_training_shots_alone_encoded_and_without_a_label(tmp_path, monkeypatch):
    monkeypatch.setenv("VG_CACHE", str(tmp_path))
    store = open_store(drawn_cartoon(), size=32, frames=240)
    train = store.shots[:1]
    white = np.zeros_like(store.frames)
    white[: train[0][1]] = 255  # and all other shots are black

    def encode(video):
        assert video.shape[3:] == (16, 16)
        return F.avg_pool3d(video, (2, 8, 8))[:, 0].gt(0).long() + 7  # 8 for light, 7 for dark

    weights = [torch.zeros(1)]
    tokenizer = SimpleNamespace(tubelet=(2, 8, 8), encode=encode, parameters=lambda: iter(weights))
    for draw, frames, batch in zip(
        fresh_views(replace(store, frames=white), train, tokenizer, 16), (WINDOW, WINDOW // 2), (BATCH, 2 * BATCH)
    ):
        rows = draw(torch.Generator().manual_seed(0))
        assert rows.shape == (batch, frames * 2 * 2 + 1) and rows.dtype == torch.int64
        assert (rows[:, :-1] == 8).all() and (rows[:, -1] == -1).all()
    draw = fresh_views(store, train, tokenizer, 16)[0]
    first, again, other = (draw(torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_layouts_are_learned_from_training_shots_not_mirrored(cache):
    prior = Prior(PriorConfig(cache.levels, cache.grid, 16, 1, 2, num_labels=len(cache.shots), layouts=True))
    train = cache.shots[:-1]
    learn_layouts(prior, cache, train)
    assert prior.labels_with_layouts() == list(range(len(train))), "nothing is known of a validation shot"
    seen = [cache.indices(entry) for entry in cache.entries if entry.shot == 0 and not entry.mirrored]
    mean = prior.quantizer.codes(torch.cat(seen)).mean(0).flatten(0, 1)
    torch.testing.assert_close(prior.layouts[1], mean)
    drawn = some_scenes(prior, 50, seed=3)
    assert drawn == some_scenes(prior, 50, seed=3) and set(drawn) == set(range(len(train)))
    assert some_scenes(Prior(PriorConfig(cache.levels, cache.grid, 16, 1, 2, num_labels=3)), 2, seed=0) is None


def test_clips_from_labels_take_every_label_that_has_a_layout_in_turn(cache, monkeypatch):
    prior = Prior(PriorConfig(cache.levels, cache.grid, 16, 1, 2, num_labels=5, layouts=True))
    for scene in (1, 4):
        prior.learn_layouts(scene, cache.indices(cache.entries[0])[None])
    asked = []

    def generate(prior, tokenizer, prompt, frames, seed, *, batch, label, **options):
        asked.extend((seed + b, one) for b, one in enumerate(label))
        return torch.zeros(batch, 1, frames, 16, 16)

    monkeypatch.setattr(generated, "generate", generate)
    assert generated.new_clips(prior, None, generated.labels_in_turn(prior, 19), 8).shape == (19, 1, 8, 16, 16)
    assert asked == [(k, (1, 4)[k % 2]) for k in range(19)], "each with a seed of its own"
    assert len(generated.labels_in_turn(Prior(PriorConfig(cache.levels, cache.grid, 16, 1, 2, num_labels=5)), 19)) == 0


def test_clips_from_prompts_are_what_comes_after_them_each_with_a_seed_of_its_own(monkeypatch):
    prompts = torch.arange(19.0).view(19, 1, 1, 1, 1).expand(19, 1, 4, 8, 8)

    def generate(prior, tokenizer, prompt, frames, seed, **options):
        new = torch.stack([torch.full((1, frames - 4, 8, 8), 100.0 + seed + b) for b in range(len(prompt))])
        return torch.cat([prompt, new], dim=2)

    monkeypatch.setattr(generated, "generate", generate)
    made = generated.new_clips(None, None, prompts, 6)
    assert made.shape == (19, 1, 6, 8, 8)
    assert torch.equal(made[:, 0, :, 0, 0], (100.0 + torch.arange(19))[:, None].expand(19, 6))


def test_an_open_cache_stays_when_another_size_phase_or_mirroring_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("VG_CACHE", str(tmp_path))
    small, large = (open_store(drawn_cartoon(), size=size, frames=60) for size in (16, 32))
    config = TubeletConfig((2, 8, 8), (5, 5), width=16, encoder_depth=1, decoder_depth=1)
    tokenizer, other = (TubeletTokenizer(config).freeze() for _ in range(2))  # of one name and other weights
    asked = [
        (small, tokenizer, {}),
        (large, tokenizer, {}),
        (small, tokenizer, {"mirrored": False}),
        (small, tokenizer, {"phases": (k for k in [1])}),  # read once
        (replace(small, shots=[(0, 20), (20, 60)]), tokenizer, {}),
        (small, other, {}),
    ]
    made = [open_cache(store, by, **how) for store, by, how in asked]
    assert len({cache.folder for cache in made}) == len(asked)
    for cache, (store, by, how) in zip(made, asked):
        how = how | ({"phases": [1]} if "phases" in how else {})
        times = [path.stat().st_mtime_ns for path in cache.folder.iterdir()]
        again = open_cache(store, by, **how)
        assert again.folder == cache.folder and np.array_equal(again.tokens, cache.tokens)
        assert times == [path.stat().st_mtime_ns for path in cache.folder.iterdir()], "written anew"


def test_a_cache_of_the_plain_name_is_used_if_it_is_the_same_and_else_left(tmp_path, monkeypatch):
    monkeypatch.setenv("VG_CACHE", str(tmp_path))
    store = open_store(drawn_cartoon(), size=16, frames=60)
    tokenizer = TubeletTokenizer(TubeletConfig((2, 8, 8), (5, 5), width=16, encoder_depth=1, decoder_depth=1)).freeze()
    tokenizer.name = "tiny"
    home = tmp_path / "latents" / "tiny-cartoon"  # as notebook 06 has it
    latents.write(home, tokenizer, store, name="tiny", mirrored=True)
    assert open_cache(store, tokenizer).folder == home
    before = {path: path.read_bytes() for path in home.iterdir()}
    assert open_cache(store, tokenizer, phases=[0]).folder != home
    assert before == {path: path.read_bytes() for path in home.iterdir()}


def test_a_video_with_a_long_name_has_a_cache_too(tmp_path, monkeypatch):
    monkeypatch.setenv("VG_CACHE", str(tmp_path))
    store = replace(open_store(drawn_cartoon(), size=16, frames=60), name="長" * 80)  # 240 bytes
    tokenizer = TubeletTokenizer(TubeletConfig((2, 8, 8), (5, 5), width=16, encoder_depth=1, decoder_depth=1)).freeze()
    assert len(open_cache(store, tokenizer, phases=[0]).entries)


def test_of_a_shot_longer_than_can_be_measured_as_a_whole_the_beginning_is(cache, monkeypatch):
    monkeypatch.setattr(prior_training, "LONGEST", 5)
    prior = Prior(PriorConfig(cache.levels, cache.grid, 16, 1, 2))
    bits, seen = prior.nll_bits, []
    monkeypatch.setattr(prior, "bits", lambda tokens: seen.append(tokens.shape[1]) or bits(tokens))
    tokenizer = TubeletTokenizer(TubeletConfig((2, 8, 8), (5, 5), width=16, encoder_depth=1, decoder_depth=1))
    facts = prior_facts(prior, tokenizer, cache, cache.shots[:-1], cache.shots[-1:])
    assert max(seen) == 5 and facts["whole_shots"]["shots"] == 1


def test_a_shot_that_is_divided_is_measured_in_the_part_that_is_held_out_and_laid_out_by_the_other(cache):
    start, stop = cache.shots[0]
    middle = start + 19  # an odd frame: its tubelets are those of phase 1
    assert stop - middle >= 8
    train, val = [(start, middle - 4), *cache.shots[1:]], [(middle, middle + 8)]  # 4 tubelets in phase 1, 3 in phase 0
    [whole] = [e for e in cache.entries if (e.shot, e.phase, e.mirrored) == (0, 1, False)]
    held = cache.indices(whole)[9:13]
    assert whole.start + 2 * 9 == middle and len(held) == prior_training.MEASURED
    prior = Prior(PriorConfig(cache.levels, cache.grid, 16, 1, 2, layouts=True, num_labels=len(cache.shots)))
    tokenizer = TubeletTokenizer(TubeletConfig((2, 8, 8), (5, 5), width=16, encoder_depth=1, decoder_depth=1))
    facts = prior_facts(prior.eval(), tokenizer, cache, train, val)
    assert facts["windows"] == 1 and facts["whole_shots"]["shots"] == 1
    with torch.no_grad():
        due = float(prior.nll_bits(held[None]).mean())
    assert facts["bits_a_token"] == facts["whole_shots"]["bits_a_token"] == round(due, 3)
    learned = []
    learn_layouts(SimpleNamespace(learn_layouts=lambda k, x: learned.append((k, x)), start=prior.start), cache, train)
    assert [number for number, _ in learned] == list(range(len(cache.shots)))
    assert len(learned[0][1][0]) == 2 * ((middle - 4 - start) // 2)  # of the part alone, in two phases


def test_parts_of_a_film_are_the_same_however_long_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("VG_CACHE", str(tmp_path))
    store = open_store(drawn_cartoon(), size=16, frames=60)
    long = replace(store, frames=np.concatenate([store.frames] * 9))  # 540 frames, more than are worked on at once
    part, whole = (prior_training.part_of(each, 2, 3, 12, 8).frames for each in (store, long))
    assert np.array_equal(whole, np.concatenate([part] * 9))
