"""Laws of generation: seeded, fed back, restricted as asked, and the same with and without a cache."""

import math
import os
import signal
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from vg import sampling
from vg.models import Prior, PriorConfig, TubeletConfig, TubeletTokenizer
from vg.sampling import filter_logits, generate, generate_tokens
from vg.sampling.plain_loop import draw
from vg.threads import as_they_come

LEVELS = (5, 4, 3)


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(0)
    tokenizer = TubeletTokenizer(TubeletConfig((2, 4, 4), LEVELS, width=16, encoder_depth=1, decoder_depth=1))
    prior = Prior(PriorConfig(LEVELS, grid=(2, 3), width=32, depth=2, heads=4, context=1, num_labels=3))
    for weight in prior.parameters():
        weight.data += 0.3 * torch.randn_like(weight)
    return prior.freeze(), tokenizer.freeze()


def make(models, **options):
    return generate(*models, **({"frames": 8, "seed": 3, "progress": False} | options))


def test_shape_range_and_seed(models):
    clip = make(models)
    assert clip.shape == (1, 1, 8, 8, 12) and clip.abs().max() <= 1
    assert torch.equal(clip, make(models))
    assert not torch.equal(clip, make(models, seed=4))
    assert make(models, frames=7).shape[2] == 7


def test_a_sample_does_not_depend_on_its_batch(models):
    batch = make(models, batch=3)
    for b in range(3):
        torch.testing.assert_close(batch[b : b + 1], make(models, seed=3 + b), atol=1e-5, rtol=0)


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5])
def test_a_prompt_is_kept_and_its_ragged_end_left_out(models, frames):
    prompt = torch.rand(2, 1, frames, 8, 12) * 2 - 1
    whole = max(2, frames // 2 * 2)
    kept = prompt[:, :, :whole] if frames > 1 else prompt.expand(-1, -1, 2, -1, -1)
    tokens = models[1].encode(kept)
    clip = make(models, prompt=prompt)
    assert clip.shape[:3] == (2, 1, 8)
    torch.testing.assert_close(clip[:, :, :whole], models[1].decode(tokens), atol=1e-5, rtol=0)
    assert torch.equal(clip, make(models, prompt=kept)), "what was left out has no say"
    one = make(models, prompt=prompt[0])
    torch.testing.assert_close(one, clip[:1], atol=1e-5, rtol=0)


def test_a_prior_that_is_being_trained_is_asked_without_dropout_and_goes_on_training(models):
    torch.manual_seed(0)
    prior = Prior(PriorConfig(LEVELS, grid=(2, 3), width=32, depth=2, heads=4, dropout=0.5)).train()
    for weight in prior.parameters():
        weight.data += 0.3 * torch.randn_like(weight)
    first, again = (generate_tokens(prior, None, 2, seed=1, progress=False) for _ in range(2))
    assert torch.equal(first, again)
    assert all(module.training for module in prior.modules())


def test_more_tokens_than_wanted_are_refused(models):
    given = torch.zeros(1, 3, 2, 3, dtype=torch.long)
    with pytest.raises(ValueError, match="3 latent frames are given, only 2 wanted"):
        generate_tokens(models[0], given, 2)
    assert torch.equal(generate_tokens(models[0], given, 3), given), "all there, nothing to draw"


def test_a_scene_may_be_any_whole_number(models):
    assert torch.equal(make(models, label=np.int64(2)), make(models, label=2))


def test_one_prompt_serves_a_batch(models):
    clip = make(models, prompt=torch.zeros(1, 1, 4, 8, 12), batch=2)
    assert torch.equal(clip[0, :, :4], clip[1, :, :4]) and not torch.equal(clip[0], clip[1])


@torch.no_grad()
def test_each_token_is_drawn_from_what_a_full_forward_says_of_the_tokens_before_it(models):
    """The most probable ones, so that there is nothing to chance: sampled tokens are fed back, in order."""
    prior, _ = models
    tokens = generate_tokens(prior, None, 3, top_k=1, progress=False)
    digits = prior.digits(tokens)
    hidden = prior.hidden(digits)[0]
    best = prior.head.sample(hidden, lambda logits: logits.argmax(-1))
    assert torch.equal(best, digits[0])


@torch.no_grad()
def test_draws_have_the_probabilities_of_the_prior(models):
    prior, _ = models
    n = 4000
    tokens = generate_tokens(prior, None, 1, seed=0, batch=n, progress=False)
    first = prior.head.logits[0](prior.hidden(prior.digits(tokens[:1]))[0, :1]).softmax(-1)[0]
    seen = torch.bincount(prior.digits(tokens)[:, 0, 0], minlength=5) / n
    assert (seen - first).abs().max() < 4 * math.sqrt(0.25 / n)


def test_the_temperature_divides_logits_and_not_probabilities(models):
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0, -2.0]])
    prior = models[0]
    noise = torch.rand(20_000, 3, 5, generator=torch.Generator().manual_seed(0))

    class Head:
        def sample(self, x, choose):
            return choose(logits.expand(20_000, -1))[:, None]

    stand_in = type("Prior", (), {"head": Head(), "levels": prior.levels})
    drawn = draw(stand_in, [torch.zeros(20_000, 1)], [1.0], noise, sampling.Options(temperature=0.5))
    seen = torch.bincount(drawn[:, 0], minlength=5) / 20_000
    assert (seen - (logits[0] / 0.5).softmax(-1)).abs().max() < 0.02
    assert (seen - logits[0].softmax(-1)).abs().max() > 0.1


def test_top_k_and_top_p_keep_what_they_say():
    p = torch.tensor([[0.5, 0.05, 0.3, 0.15]])
    kept = lambda **o: (filter_logits(p.log(), **o) > -math.inf)[0].tolist()  # noqa: E731
    assert kept() == [True] * 4
    assert kept(top_k=2) == [True, False, True, False]
    assert kept(top_k=9) == [True] * 4
    assert kept(top_p=0.5) == [True, False, False, False]
    assert kept(top_p=0.51) == [True, False, True, False]
    assert kept(top_p=1e-9) == [True, False, False, False]
    assert kept(top_p=1.0) == [True] * 4
    # independent: top-p sees the whole distribution, not what top-k left of it
    assert kept(top_k=2, top_p=0.9) == [True, False, True, False]
    assert kept(top_k=2, top_p=0.6) == [True, False, True, False]
    assert kept(top_k=3, top_p=0.79) == [True, False, True, False]
    assert kept(top_k=1, top_p=0.99) == [True, False, False, False]
    ordered = filter_logits(p.log(), 3, 0.9)
    assert torch.equal(ordered[ordered > -math.inf], p.log()[ordered > -math.inf]), "what is kept is not changed"


def test_a_window_bounds_what_is_kept_and_long_enough_changes_nothing(models):
    assert torch.equal(make(models, window=4), make(models))
    assert make(models, window=1, frames=20).shape[2] == 20
    assert not torch.equal(make(models, window=1, frames=20), make(models, frames=20))


def test_scenes_and_guidance(models):
    a, b = make(models, label=0), make(models, label=1)
    assert not torch.equal(a, b)
    torch.testing.assert_close(make(models, label=0, guidance=1.0), a)
    assert not torch.equal(make(models, label=0, guidance=3.0), a)
    assert make(models, label=2, guidance=2.0, batch=3, prompt=torch.zeros(1, 8, 12)[None][None]).shape[0] == 3


def test_every_clip_of_a_batch_may_have_a_scene_of_its_own(models):
    mixed = make(models, label=[2, 0], guidance=2.0)  # as many clips as scenes
    assert len(mixed) == 2
    for b, label in enumerate([2, 0]):
        alone = make(models, label=label, guidance=2.0, seed=3 + b)
        torch.testing.assert_close(mixed[b : b + 1], alone, atol=1e-5, rtol=0)


@torch.no_grad()
def forgetful(prior, digits, condition=None):
    """Hidden states that know the latent frame they are in, and nothing before it: (B, L, D)."""
    frames = digits.split(prior.tokens_per_latent_frame, dim=1)
    return torch.cat(
        [
            prior.hidden(d, condition=None if condition is None else condition[:, k : k + 1])
            for k, d in enumerate(frames)
        ],
        dim=1,
    )


@pytest.mark.parametrize("guided", [False, True])
@torch.no_grad()
def test_history_goes_from_what_is_said_without_the_past_to_what_is_said_with_it_and_beyond(models, guided):
    prior, condition = models[0], None
    if guided:  # by the tokens of a coarser grid, all known beforehand
        torch.manual_seed(1)
        config = PriorConfig(LEVELS, (2, 2), 32, 1, 4, context=1, condition_levels=(3, 4), condition_grid=(1, 1))
        prior, condition = Prior(config), torch.tensor([[[[3]], [[11]], [[7]]]])
        for weight in prior.parameters():
            weight.data += 0.1 * torch.randn_like(weight)
    options = {"top_k": 1, "condition": condition, "progress": False}
    tokens = generate_tokens(prior, None, 3, history=2.5, **options)
    digits = prior.digits(tokens)
    both = torch.cat([prior.hidden(digits, condition=condition)[0], forgetful(prior, digits, condition)[0]])

    def beyond(logits):
        with_past, without = logits.chunk(2)
        return (without + 2.5 * (with_past - without)).argmax(-1).repeat(2)

    assert torch.equal(prior.head.sample(both, beyond)[: digits.shape[1]], digits[0])
    plain = generate_tokens(prior, None, 3, **options)
    assert torch.equal(tokens[:, 0], plain[:, 0]), "the first latent frame has no past"
    assert not torch.equal(tokens, plain)


def test_history_at_one_changes_nothing_and_goes_with_guidance_in_any_batch(models):
    torch.testing.assert_close(make(models, history=1.0), make(models))
    prompt = torch.rand(2, 1, 4, 8, 12) * 2 - 1
    options = {"label": [2, 0], "guidance": 6.0, "history": 4.0}
    batch = make(models, prompt=prompt, **options)
    assert not torch.equal(batch, make(models, prompt=prompt, **options | {"history": 1.0}))
    assert not torch.equal(batch, make(models, prompt=prompt, **options | {"guidance": 1.0}))
    alone = make(models, prompt=prompt[1:], seed=4, **options | {"label": 0})
    torch.testing.assert_close(batch[1:], alone, atol=1e-5, rtol=0)
    found = sampling.branches(torch.tensor([1]), 2.0, 1.5)
    assert [(r.weights, r.labels.tolist(), r.drops_history) for r in found] == [
        ((2.5, -1.0), [[1], [-1]], False),
        ((-0.5,), [[1]], True),
    ]


WRONG = [
    ({"temperature": 0}, "temperature is 0"),
    ({"top_k": 0}, "top_k is 0"),
    ({"top_p": 0.0}, "top_p is 0.0"),
    ({"top_p": 1.5}, "top_p is 1.5"),
    ({"label": 3}, "labels 0 to 2"),
    ({"label": [0, 3], "batch": 2}, "labels 0 to 2"),
    ({"guidance": 2.0}, "needs a label"),
    ({"history": 0.5}, "history is 0.5"),
    ({"history": 1e30}, "history is 1e\\+30, expected at most 100"),
    ({"guidance": 1e38, "label": 0}, "guidance is 1e\\+38, expected at most 100"),
    ({"seed": 2**63}, "seed is 9223372036854775808"),
    ({"prompt": torch.zeros(1, 1, 8, 8, 12)}, "fills 8 of 8"),
    ({"prompt": torch.zeros(1, 1, 2, 12, 12)}, r"this prior makes \(8, 12\)"),
    ({"prompt": torch.zeros(1, 1, 0, 8, 12)}, "T from 1"),
    ({"prompt": torch.zeros(2, 1, 2, 8, 12), "batch": 3}, "2 prompts for a batch of 3"),
    ({"label": [0, 1], "batch": 3}, "2 labels for a batch of 3"),
    ({"label": []}, "0 labels"),
    ({"batch": 0}, "batch of 0"),
]


@pytest.mark.parametrize(("options", "said"), WRONG, ids=[said for _, said in WRONG])
def test_wrong_arguments_are_named(models, options, said):
    with pytest.raises(ValueError, match=said):
        make(models, **options)


def test_models_that_do_not_belong_together_are_refused(models):
    other = TubeletTokenizer(TubeletConfig((2, 4, 4), (8, 5), width=16))
    with pytest.raises(ValueError, match=r"\[5, 4, 3\].*\[8, 5\]"):
        generate(models[0], other, progress=False)


def test_prompts_of_other_types_are_converted_and_what_is_no_picture_is_refused(models):
    pixels = torch.randint(0, 256, (1, 1, 4, 8, 12), dtype=torch.uint8)
    unit = pixels.float() / 127.5 - 1
    wanted = make(models, prompt=unit)
    for same in (pixels, unit.double(), unit.numpy(), pixels.numpy(), pixels.numpy()[0]):
        assert torch.equal(make(models, prompt=same), wanted)
    assert torch.equal(make(models, prompt=unit.half()), make(models, prompt=unit.half().float()))
    for wrong in ((unit + 1) * 127.5, torch.where(unit > 0, torch.nan, unit), unit / 0.0):
        with pytest.raises(ValueError, match="expected -1"):
            make(models, prompt=wrong)
    with pytest.raises(ValueError, match="int32"):
        make(models, prompt=pixels.int())


def test_clips_that_come_one_by_one_are_those_of_the_batch(models):
    options = {"frames": 8, "seed": 3, "progress": False, "label": [1, 0, 2], "guidance": 2.0}
    prompt = torch.rand(3, 1, 2, 8, 12) * 2 - 1
    batch = generate(*models, prompt, batch=3, **options)
    torch.set_num_threads(2)
    try:
        came = dict(sampling.generate_each(*models, prompt, batch=3, **options))
    finally:
        torch.set_num_threads(1)
    assert sorted(came) == [0, 1, 2]
    for b in range(3):
        torch.testing.assert_close(came[b], batch[b], atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="3 labels and 2 clips"):
        next(sampling.generate_each(*models, batch=2, **options))


def test_one_clip_in_colour_is_one_prompt(models):
    prior, tokenizer = models
    coloured = TubeletTokenizer(replace(tokenizer.config, channels=3)).freeze()
    prompt = torch.rand(3, 2, 8, 12) * 2 - 1
    [(_, clip)] = sampling.generate_each(prior, coloured, prompt, frames=4, seed=3, progress=False)
    torch.testing.assert_close(clip, generate(prior, coloured, prompt, frames=4, seed=3, progress=False)[0])


@pytest.mark.parametrize("kind", ["cpu", "mps", "cuda"])
def test_only_on_a_cpu_clips_come_from_threads(kind):
    work = lambda k: (k, threading.current_thread() is threading.main_thread())  # noqa: E731
    came = sorted(as_they_come(work, 5, torch.device(kind)))
    assert came == [(k, kind != "cpu") for k in range(5)]


def test_an_interrupt_ends_clips_that_come_one_after_another():
    came = []
    with pytest.raises(KeyboardInterrupt):
        for k in as_they_come(lambda k: k, 5, torch.device("mps")):
            came.append(k)
            if k == 1:
                signal.raise_signal(signal.SIGINT)
    assert came == [0, 1]


@pytest.mark.parametrize("number", ["temperature", "guidance", "history", "top_p"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_are_none_are_refused(models, number, value):
    with pytest.raises(ValueError, match=number):
        make(models, label=0, **{number: value})


def test_a_window_of_nothing_is_refused(models):
    with pytest.raises(ValueError, match="window is 0"):
        make(models, window=0)


class PressesStop:
    """A bar's ``update``: an interrupt comes when so many tokens are drawn."""

    def __init__(self, tokens: int):
        self.left, self.lock = tokens, threading.Lock()

    def __call__(self, count: int = 1) -> None:
        with self.lock:
            self.left -= count
            press = self.left <= 0
            self.left = math.inf if press else self.left
        if press:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("batch", [1, 2])
def test_an_interrupt_leaves_what_is_drawn_and_gradients_as_they_were(models, monkeypatch, capsys, batch):
    whole = make(models, batch=batch, frames=40)
    monkeypatch.setattr("tqdm.auto.tqdm.update", PressesStop(60 * batch))
    clip = make(models, batch=batch, frames=40)
    assert 0 < clip.shape[2] < 40 and clip.shape[2] % 2 == 0
    assert f"{clip.shape[2] // 2} of 20 latent frames are drawn" in capsys.readouterr().err
    torch.testing.assert_close(clip, whole[:, :, : clip.shape[2]])
    assert torch.is_grad_enabled()
    assert make(models, frames=8).shape[2] == 8, "and it goes on as ever"


@pytest.mark.parametrize("loop", [generate_tokens, sampling.one_by_one])
def test_an_interrupt_before_anything_is_drawn_is_one(models, monkeypatch, loop):
    monkeypatch.setattr("tqdm.auto.tqdm.update", PressesStop(1))
    with pytest.raises(KeyboardInterrupt):
        loop(models[0], None, 20, progress=False)
    assert torch.is_grad_enabled()


def test_an_interrupt_where_no_token_is_drawn_is_raised(models, monkeypatch):
    decode = models[1].decode
    monkeypatch.setattr(models[1], "decode", lambda *a, **k: (os.kill(os.getpid(), signal.SIGINT), decode(*a, **k))[1])
    with pytest.raises(KeyboardInterrupt):
        make(models)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("cores", [1, 2])
def test_an_interrupt_ends_clips_that_come_one_by_one_and_gives_what_they_have(models, monkeypatch, cores):
    whole = make(models, batch=4, frames=400)
    monkeypatch.setattr("tqdm.auto.tqdm.update", PressesStop(300))
    torch.set_num_threads(cores)
    try:
        came = []
        with pytest.raises(KeyboardInterrupt):
            came.extend(sampling.generate_each(*models, batch=4, frames=400, seed=3))
        assert torch.get_num_threads() == cores
    finally:
        torch.set_num_threads(1)
    assert 1 <= len(came) < 4
    for b, clip in came:
        assert clip.shape[1] < 400
        torch.testing.assert_close(clip, whole[b][:, : clip.shape[1]], atol=1e-5, rtol=0)
