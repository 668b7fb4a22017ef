"""Parallel sampling draws the very tokens of the plain loop, whatever the options, in fewer passes."""

import time

import pytest
import torch

from vg import threads
from vg.evaluation.pair import open_pair
from vg.models import Prior, PriorConfig, TubeletConfig, TubeletTokenizer
from vg.sampling import (
    Options,
    Sampler,
    Stream,
    generate,
    generate_tokens,
    one_by_one,
    packed,
    parallel,
)
from vg.sampling.windows import Windows

LEVELS = (5, 4, 3)


def random_prior(**config) -> Prior:
    """Sure enough of some tokens that guesses come true, unsure enough of others that they fail. In float64: exact."""
    torch.manual_seed(0)
    shape = {"levels": LEVELS, "grid": (2, 3), "width": 32, "depth": 2, "heads": 4, "context": 1, "num_labels": 3}
    prior = Prior(PriorConfig(**shape | config))
    for weight in prior.parameters():
        weight.data += 0.15 * torch.randn_like(weight)
    return prior.double().freeze()


@pytest.fixture(scope="module")
def prior():
    return random_prior()


PROMPT = torch.randint(60, (2, 2, 2, 3), generator=torch.Generator().manual_seed(1))
OPTIONS = [
    {},
    {"temperature": 0.3},
    {"temperature": 2.5, "top_p": 0.8},
    {"top_k": 2},
    {"top_k": 3, "top_p": 0.7, "temperature": 0.7},
    {"label": 1},
    {"label": 2, "guidance": 3.0},
    {"history": 2.0},
    {"history": 1.5, "label": 0, "guidance": 2.0, "top_p": 0.95},
    {"window": 1},
    {"window": 2, "history": 1.7},
    {"batch": 3},
    {"batch": 3, "label": [2, 0, 1], "guidance": 1.5, "history": 1.3},
    {"batch": 5, "window": 3, "temperature": 0.2},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("prompted", [False, True])
def test_every_option_gives_the_tokens_of_the_plain_loop(prior, options, prompted):
    prompt = PROMPT[: options.get("batch", 2)][: 1 if options.get("batch", 2) > 2 else 2] if prompted else None
    options = options if "batch" in options or prompt is None else options | {"batch": 2}
    settings = {"latent_frames": 7, "seed": 5, "progress": False, **options}
    assert torch.equal(generate_tokens(prior, prompt, **settings), one_by_one(prior, prompt, **settings))


@pytest.mark.parametrize("options", [{}, {"window": 2}, {"history": 1.5, "batch": 3}], ids=str)
def test_a_prior_with_a_reach_is_sampled_as_the_plain_loop_samples_it(options):
    prior = random_prior(reach=3)
    settings = {"latent_frames": 8, "seed": 5, "progress": False, **options}
    bounded = generate_tokens(prior, None, **settings)
    assert torch.equal(bounded, one_by_one(prior, None, **settings))
    assert options or not torch.equal(bounded, generate_tokens(random_prior(), None, **settings))


SHAPES = [
    {"grid": (1, 1)},
    {"grid": (3, 1)},
    {"grid": (1, 5)},
    {"grid": (4, 4), "context": 0},
    {"grid": (2, 2), "positions": "learned", "longest": 7},
    {"grid": (2, 2), "positions": "plain", "heads": 2},
    {"grid": (2, 3), "layouts": True},
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_grid_and_every_kind_of_position_gives_the_tokens_of_the_plain_loop(shape):
    prior = random_prior(**shape)
    if prior.config.layouts:
        prior.learn_layouts(1, torch.randint(60, (1, 2, *prior.grid)))
    settings = {"latent_frames": 7, "seed": 2, "progress": False, "label": 1, "guidance": 2.0, "history": 1.5}
    assert torch.equal(generate_tokens(prior, None, **settings), one_by_one(prior, None, **settings))


def test_a_guide_is_heeded_and_one_that_ends_early_refused():
    prior = random_prior(grid=(2, 2), condition_levels=(3, 4), condition_grid=(1, 1))
    condition = torch.randint(12, (3, 4, 1, 1))
    settings = {"latent_frames": 4, "batch": 3, "condition": condition, "history": 1.5, "progress": False}
    made = generate_tokens(prior, None, **settings)
    assert torch.equal(made, one_by_one(prior, None, **settings))
    assert not torch.equal(made, generate_tokens(prior, None, **settings | {"condition": condition.flip(0)}))
    for loop in (generate_tokens, one_by_one):
        with pytest.raises(ValueError, match="the condition ends"):
            loop(prior, None, **settings | {"latent_frames": 5})


def test_learned_positions_end_where_the_plain_loop_says():
    prior = random_prior(grid=(2, 2), positions="learned", longest=3)
    for loop in (generate_tokens, one_by_one):
        with pytest.raises(ValueError, match="learned positions end at 3"):
            loop(prior, None, 4, progress=False)


@pytest.mark.parametrize("samples", [1, 8, 64, 1000])
def test_windows_grow_to_the_longest_where_all_guesses_hold_and_shrink_to_one_where_none_does(samples):
    windows = Windows(128, samples)
    for _ in range(200):
        windows.learn(windows.choose())
    assert windows.choose() == 128
    for _ in range(200):
        windows.learn(0)
    assert windows.choose() == 1


def test_many_samples_are_a_pass_and_not_many_to_what_windows_learn(prior):
    """Else what was hoped for at first is forgotten in a pass or two."""
    learned = []
    for batch in (1, 16):
        tokens = torch.zeros(batch, 12, 3, dtype=torch.long)
        sampler = Sampler(prior, list(range(batch)), Options(temperature=1e-3), tokens)
        sampler.advance(sampler.samples)
        learned.append(sampler.windows.right)
    assert min(learned) > 0.5 * 8.0


@pytest.mark.parametrize("longest", [1, 2, 3, 6])
def test_no_window_changes_a_token(prior, longest, monkeypatch):
    wanted = one_by_one(prior, None, 5, history=1.5, progress=False)
    monkeypatch.setattr(Windows, "choose", lambda self: longest)
    assert torch.equal(generate_tokens(prior, None, 5, history=1.5, progress=False), wanted)


@pytest.mark.parametrize("batch", [1, 3])
def test_room_for_few_rows_is_made_again_and_again_without_losing_what_is_looked_at(monkeypatch, batch):
    prior = random_prior(grid=(4, 4))
    prompt = torch.randint(60, (1, 3, 4, 4))
    settings = {"batch": batch, "window": 2, "history": 1.5, "progress": False}
    wanted = one_by_one(prior, prompt, 12, **settings)
    monkeypatch.setattr(packed, "ROWS", 5)
    monkeypatch.setattr(parallel, "ROWS", 5)
    assert torch.equal(generate_tokens(prior, prompt, 12, **settings), wanted)


def test_room_grows_where_the_length_is_not_known_beforehand(prior):
    with torch.no_grad():
        sampler = Sampler(prior, [3], Options(), torch.zeros(1, 0, 3, dtype=torch.long))
        tokens = torch.cat([tokens for _, tokens in sampler.run(40)])
    assert torch.equal(tokens, prior.digits(one_by_one(prior, None, 40, 3, progress=False))[0])


@pytest.mark.parametrize(("name", "fewer"), [("prior-64", 1.4), ("prior-128", 1.5)])
def test_a_shipped_prior_needs_far_fewer_passes_than_tokens(name, fewer):
    pair = open_pair(name)
    prior, options = pair.prior, pair.options | {"label": 4}
    empty = torch.zeros(1, 0, len(prior.levels), dtype=torch.long)
    with torch.no_grad(), threads.one_thread():
        sampler = Sampler(prior, [0], Options(**options), empty)
        tokens = torch.cat([tokens for _, tokens in sampler.run(3)])
    assert sampler.drawn == 3 * prior.tokens_per_latent_frame and sampler.passes < sampler.drawn / fewer
    wanted = one_by_one(prior, None, 3, progress=False, **options)
    assert torch.equal(tokens, prior.digits(wanted)[0])


def test_a_sample_that_is_easy_to_guess_does_not_wait_for_one_that_is_not(prior):
    with torch.no_grad():
        sampler = Sampler(prior, [0, 1], Options(temperature=0.7), torch.zeros(2, 0, 3, dtype=torch.long))
        gone_ahead = 0
        for _ in sampler.run(30):
            gone_ahead = max(gone_ahead, abs(sampler.samples[0].latent_frames - sampler.samples[1].latent_frames))
    assert gone_ahead > 0


def test_the_number_of_threads_is_given_back_even_after_an_error(prior):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        generate_tokens(prior, None, 2, batch=3, progress=False)
        assert torch.get_num_threads() == 2
        with pytest.raises(ValueError):
            generate_tokens(random_prior(positions="learned", longest=1), None, 4, batch=3, progress=False)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_work_is_shared_out_once_each_and_errors_come_through():
    torch.set_num_threads(2)
    try:
        seen, at_once = [], []

        def work(rows, stop):
            seen.extend(rows)
            at_once.append(torch.get_num_threads())
            time.sleep(0.05)

        threads.side_by_side(work, 5, torch.device("cpu"))
        assert sorted(seen) == [0, 1, 2, 3, 4] and at_once == [1, 1]

        def fail(rows, stop):
            raise RuntimeError("this one")

        with pytest.raises(RuntimeError, match="this one"):
            threads.side_by_side(fail, 4, torch.device("cpu"))
    finally:
        torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tokenizer():
    torch.manual_seed(0)
    return TubeletTokenizer(TubeletConfig((2, 4, 4), LEVELS, width=16, encoder_depth=1, decoder_depth=1)).freeze()


@pytest.mark.parametrize("prompted", [False, True])
@pytest.mark.parametrize("rows", [4, packed.ROWS])
def test_a_stream_is_the_video_that_generate_makes_piece_by_piece(tokenizer, monkeypatch, prompted, rows):
    monkeypatch.setattr(packed, "ROWS", rows)
    monkeypatch.setattr(parallel, "ROWS", rows)
    prior = random_prior().float()
    prompt = torch.rand(1, 1, 6, 8, 12) * 2 - 1 if prompted else None
    options = {"seed": 4, "window": 2, "history": 1.5, "label": 2}
    clip = generate(prior, tokenizer, prompt, frames=40, progress=False, **options)
    stream = Stream(prior, tokenizer, prompt, **options)
    torch.testing.assert_close(torch.cat([next(stream) for _ in range(20)], dim=1), clip[0])


@pytest.mark.parametrize(("group", "pieces"), [((1, 1, 1), [2, 2, 2, 2]), ((2, 1, 1), [2, 4, 4, 4])])
def test_a_stream_whose_decoder_looks_ahead_is_later_but_the_same(group, pieces):
    torch.manual_seed(0)
    shape = {"width": 16, "encoder_depth": 1, "decoder_depth": 1, "lookahead": True}
    tokenizer = TubeletTokenizer(TubeletConfig((2, 4, 4), LEVELS, group, **shape)).freeze()
    prior = random_prior(levels=tokenizer.levels).float()
    clip = generate(prior, tokenizer, frames=20, seed=4, window=2, progress=False)
    stream = Stream(prior, tokenizer, seed=4, window=2)
    made = [next(stream) for _ in pieces]
    assert [piece.shape[1] for piece in made] == pieces and stream.drawn == sum(pieces)
    torch.testing.assert_close(torch.cat(made, dim=1), clip[0, :, : sum(pieces)])


def test_a_stream_that_was_changed_goes_on_as_one_that_had_the_other_options_from_there_on(tokenizer):
    prior = random_prior().float()
    stream = Stream(prior, tokenizer, seed=4, label=2, window=2)
    begun = torch.cat([next(stream) for _ in range(4)], dim=1)
    stream.change(seed=9, history=2.0, temperature=0.5)
    changed = torch.cat([next(stream) for _ in range(3)], dim=1)
    same = Stream(prior, tokenizer, seed=4, label=2, window=2)
    assert torch.equal(torch.cat([next(same) for _ in range(4)], dim=1), begun)
    assert not torch.equal(torch.cat([next(same) for _ in range(3)], dim=1), changed)
    other = Stream(prior, tokenizer, seed=4, label=2, window=2)
    assert torch.equal(torch.cat([next(other) for _ in range(4)], dim=1), begun)
    other.change(history=2.0, temperature=0.5)  # and no other seed
    assert not torch.equal(torch.cat([next(other) for _ in range(3)], dim=1), changed)
    stream.change(history=1.0)
    assert next(stream).shape == (1, 2, 8, 12), "what began may end"
    with pytest.raises(ValueError, match="temperature is 0"):
        stream.change(temperature=0.0)
    with pytest.raises(ValueError, match="the window stays"):
        stream.change(window=3)


@torch.no_grad()
def test_options_change_between_two_latent_frames_and_guidance_by_a_label_does_not_come_late(prior):
    empty = torch.zeros(1, 0, 3, dtype=torch.long)
    sampler = Sampler(prior, [1], Options(label=0), empty)
    sampler.advance(sampler.samples)
    with pytest.raises(ValueError, match="between two latent frames"):
        sampler.change(Options(label=1))
    with pytest.raises(ValueError, match="a guidance of 1 stays 1"):
        Sampler(prior, [1], Options(label=0), empty).change(Options(label=0, guidance=2.0))
