"""Laws of training a prior on a film: its batches, its labels, its caches, and what is measured of it."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vg import latents
from vg.data import FrameStore, Split, drawn_cartoon, open_store
from vg.evaluation import generated, psnr
from vg.evaluation import prior as measuring
from vg.evaluation.prior import prior_facts
from vg.evaluation.reels import some_labels
from vg.evaluation.tokenizer import held_out, tokenizer_facts
from vg.experiments.batches import fresh_tokens, mixed_batches, prior_batches, unpack_batch
from vg.experiments.config import PriorPart
from vg.experiments.prior import film_batches, fresh_views, learn_layouts
from vg.latents import open_cache
from vg.models import ClipFeatures, FeaturesConfig, Prior, PriorConfig, TubeletConfig, TubeletTokenizer

WINDOW = 6


def test_codes_and_bits_of_a_tokenizer_are_counted_by_patch(tmp_path, monkeypatch):
    monkeypatch.setenv("VG_CACHE", str(tmp_path))
    store = open_store(drawn_cartoon(), size=32, frames=120)
    torch.manual_seed(0)
    tokenizer = TubeletTokenizer(TubeletConfig((2, 8, 8), (5, 5), (2, 2, 2), width=16)).freeze()
    facts = tokenizer_facts(tokenizer, store)
    assert (facts["tokens_a_clip"], facts["codes"]) == (4 * 2 * 2, 25)
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
    views = prior_batches(cache.windows(WINDOW, shots=train), 3, labelled=False)
    draw = mixed_batches(film_batches(cache, train, 3, WINDOW), [views])
    plain = [view for view in cache.views if not view[1]]
    kinds = set()
    for seed in range(40):
        tokens, labels, backwards = unpack_batch(draw(torch.Generator().manual_seed(seed)))
        kinds.add((len(tokens), tokens.shape[1], bool((labels >= 0).all())))
        assert backwards == 0
        assert (labels >= 0).all() or (labels == -1).all()
        for row, label in zip(tokens, labels.tolist()):
            if label >= 0:
                assert cache.shots[label] in train
                known = cache.windows(len(row), shots=[label], views=plain)
                assert (known.take(torch.arange(len(known))) == row).flatten(1).all(1).any(), "mirrored, or another's"
    assert kinds == {(3, WINDOW, True), (6, WINDOW // 2, True), (3, WINDOW, False)}


def test_the_share_of_views_is_what_was_asked_for(cache):
    nothing, labelled = torch.full((1, 1), -1), torch.full((1, 1), 0)
    for share in (0.0, 0.5, 2 / 3, 1.0):
        draw = mixed_batches([lambda generator: labelled], [lambda generator: nothing], share)
        seen = [draw(torch.Generator().manual_seed(seed)) is nothing for seed in range(600)]
        assert np.mean(seen) == pytest.approx(share, abs=0.06)


def test_fresh_views_are_encoded_in_the_precision_of_the_cache(monkeypatch):
    monkeypatch.setattr("vg.experiments.batches.autocast", lambda where: torch.autocast("cpu", torch.bfloat16))
    kinds, weights = [], [torch.zeros(1)]

    def encode(video):
        kinds.append((video[0, 0, 0] @ video[0, 0, 0]).dtype)
        return torch.zeros(1, 1, 1, 1, dtype=torch.long)

    tokenizer = SimpleNamespace(encode=encode, parameters=lambda: iter(weights))
    fresh_tokens(lambda generator: torch.zeros(1, 1, 2, 8, 8), tokenizer)(torch.Generator())
    assert kinds == [torch.bfloat16]


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
    part = PriorPart(batch=3)
    draws = fresh_views(replace(store, frames=white), train, tokenizer, (16, 16), part, WINDOW)
    assert len(draws) == 2
    for draw, frames, batch in zip(draws, (WINDOW, WINDOW // 2), (3, 6)):
        tokens, labels, backwards = unpack_batch(draw(torch.Generator().manual_seed(0)))
        assert tokens.shape == (batch, frames, 2, 2) and tokens.dtype == torch.int64
        assert (tokens == 8).all() and (labels == -1).all() and backwards == -1
    draw = fresh_views(store, train, tokenizer, (16, 16), part, WINDOW)[0]
    first, again, other = (draw(torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_layouts_are_learned_from_training_shots_not_mirrored(cache):
    prior = Prior(PriorConfig(cache.levels, cache.grid, 16, 1, 2, num_labels=len(cache.shots), layouts=True))
    train = cache.shots[:-1]
    learn_layouts(prior, cache, train)
    assert prior.labels_with_layouts() == list(range(len(train))), "nothing is known of a validation shot"
    seen = [cache.indices(entry) for entry in cache.entries if entry.shot == 0 and not entry.mirrored]
    mean = prior.quantizer.codes(torch.cat(seen)).mean(0).flatten(0, 1)
    torch.testing.assert_close(prior.layouts[1], mean.half())
    drawn = some_labels(prior, 50, seed=3)
    assert drawn == some_labels(prior, 50, seed=3) and set(drawn) == set(range(len(train)))
    assert some_labels(Prior(PriorConfig(cache.levels, cache.grid, 16, 1, 2, num_labels=3)), 2, seed=0) is None


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
    monkeypatch.setattr(measuring, "LONGEST", 5)
    prior = Prior(PriorConfig(cache.levels, cache.grid, 16, 1, 2))
    bits, seen = prior.nll_bits, []
    monkeypatch.setattr(prior, "nll_bits", lambda tokens: seen.append(tokens.shape[1]) or bits(tokens))
    tokenizer = TubeletTokenizer(TubeletConfig((2, 8, 8), (5, 5), width=16, encoder_depth=1, decoder_depth=1))
    facts = prior_facts(prior, tokenizer, cache, Split(cache.shots[:-1], cache.shots[-1:], []))
    assert max(seen) == 5 and facts["whole_shots"]["shots"] == 1


def test_shots_shorter_than_the_windows_are_measured_in_shorter_ones(cache):
    prior = Prior(PriorConfig(cache.levels, cache.grid, 16, 1, 2)).eval()
    tokenizer = TubeletTokenizer(TubeletConfig((2, 8, 8), (5, 5), width=16, encoder_depth=1, decoder_depth=1))
    first, second, *_ = [shot for shot in cache.shots if shot[1] - shot[0] >= 8]
    for latent_frames in (1, 3):
        length = 2 * latent_frames
        short = [(start, start + length) for start, _ in (first, second)]
        held = measuring.validation_windows(cache, short[1:])
        assert held.shape[1] == latent_frames
        facts = prior_facts(prior, tokenizer, cache, Split(short[:1], short[1:], []))
        with torch.no_grad():
            assert facts["bits_a_token"] == round(float(prior.nll_bits(held).mean()), 3)
        assert ("bits_a_token_after_the_first_latent_frame" in facts) == (latent_frames > 1)
    with pytest.raises(ValueError, match="no window of 1 latent"):
        measuring.measured_windows(cache, [(first[0], first[0] + 1)])


def test_test_shots_are_reported_and_validation_shots_beside_them(cache):
    prior = Prior(PriorConfig(cache.levels, cache.grid, 16, 1, 2)).eval()
    tokenizer = TubeletTokenizer(TubeletConfig((2, 8, 8), (5, 5), width=16, encoder_depth=1, decoder_depth=1))
    first, second, *rest = [shot for shot in cache.shots if shot[1] - shot[0] >= 2 * measuring.MEASURED + 2]
    both = prior_facts(prior, tokenizer, cache, Split(rest or [first], [first], [second]))
    alone = prior_facts(prior, tokenizer, cache, Split(rest or [first], [second], []))
    assert {name: value for name, value in both.items() if name != "validation"} == alone
    assert both["validation"] == prior_facts(prior, tokenizer, cache, Split(rest or [first], [first], []))
    assert both["whole_shots"]["by_shot"] == [both["whole_shots"]["bits_a_token"]]


def test_what_a_tokenizer_reaches_is_reported_of_test_shots_and_by_shot(tmp_path, monkeypatch):
    monkeypatch.setenv("VG_CACHE", str(tmp_path))
    store = open_store(drawn_cartoon(), size=32, frames=240)
    torch.manual_seed(0)
    tokenizer = TubeletTokenizer(TubeletConfig((2, 8, 8), (5, 5), width=16)).freeze()
    first, second, third = [shot for shot in store.shots if shot[1] - shot[0] >= 16][:3]
    facts = tokenizer_facts(tokenizer, store, split=Split([first], [second], [first, third]))
    clips = [held_out(store, shots=[shot]) for shot in (first, third)]
    due = [float(psnr(tokenizer(each)[0].clamp(-1, 1), each).mean()) for each in clips]
    assert facts["by_shot"]["psnr"] == pytest.approx(due, abs=0.006)
    assert facts["clips"] == sum(map(len, clips)) and facts["shots"] == "test"
    other = tokenizer_facts(tokenizer, store, split=Split([first], [second], []))
    assert facts["validation"]["psnr"] == other["psnr"] and other["shots"] == "validation"
    assert "validation" not in other


def test_a_shot_that_is_divided_is_measured_in_the_part_that_is_held_out_and_laid_out_by_the_other(cache):
    start, stop = cache.shots[0]
    middle = start + 19  # an odd frame: its tubelets are those of phase 1
    assert stop - middle >= 8
    train, val = [(start, middle - 4), *cache.shots[1:]], [(middle, middle + 8)]  # 4 tubelets in phase 1, 3 in phase 0
    [whole] = [e for e in cache.entries if (e.shot, e.phase, e.mirrored) == (0, 1, False)]
    held = cache.indices(whole)[9:13]
    assert whole.start + 2 * 9 == middle and len(held) == measuring.MEASURED
    prior = Prior(PriorConfig(cache.levels, cache.grid, 16, 1, 2, layouts=True, num_labels=len(cache.shots)))
    tokenizer = TubeletTokenizer(TubeletConfig((2, 8, 8), (5, 5), width=16, encoder_depth=1, decoder_depth=1))
    facts = prior_facts(prior.eval(), tokenizer, cache, Split(train, val, []))
    assert facts["windows"] == 1 and facts["whole_shots"]["shots"] == 1
    with torch.no_grad():
        due = float(prior.nll_bits(held[None]).mean())
    assert facts["bits_a_token"] == facts["whole_shots"]["bits_a_token"] == round(due, 3)
    learned = []
    learn_layouts(SimpleNamespace(learn_layouts=lambda k, x: learned.append((k, x)), start=prior.start), cache, train)
    assert [number for number, _ in learned] == list(range(len(cache.shots)))
    assert len(learned[0][1][0]) == 2 * ((middle - 4 - start) // 2)  # of the part alone, in two phases


@pytest.mark.parametrize("count", [generated.FEWEST - 1, generated.FEWEST, generated.FEWEST + 1])
@pytest.mark.parametrize("by", ["most", "film"])
def test_clips_are_measured_where_there_are_enough_for_a_distance_and_its_error(count, by, monkeypatch):
    monkeypatch.setattr(generated, "reconstruct", lambda tokenizer, video: video)
    monkeypatch.setattr(generated, "new_clips", lambda a, b, given, frames, c: torch.rand(len(given), 1, frames, 8, 8))
    stretch, stretches = generated.PROMPT + generated.NEW, count if by == "film" else 24
    frames = np.random.default_rng(0).integers(0, 256, (stretch * stretches, 1, 8, 8), np.uint8)
    shots = [(k * stretch, (k + 1) * stretch) for k in range(stretches)]
    store = FrameStore(frames, 12.0, shots, "film", "sha", "key", Path("none"))
    prior, features = SimpleNamespace(labels_with_layouts=list), ClipFeatures(FeaturesConfig(2, 8, 8)).freeze()
    found = generated.generated_facts(prior, None, store, features, {}, count if by == "most" else None)
    if count < generated.FEWEST:
        assert found == {}
    else:
        assert found["clips"] == count // 2
        assert set(found["frechet"]) == set(found["frechet_error"]) and found["frechet_error"]["real_half"] > 0
