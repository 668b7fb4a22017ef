"""The packed head draws what the digit head draws digit after digit, whatever was guessed."""

import pytest
import torch

from vg.models.digits import DigitHead
from vg.sampling import Options, filter_logits, packed_head
from vg.sampling.filters import gumbel
from vg.sampling.packed_head import PackedHead

LEVELS, WIDTH, COUNTS = (7, 3, 5, 4, 3, 6, 5, 3, 4, 5), 24, [13, 1, 26]
OPTIONS = [Options(), Options(temperature=0.5, top_p=0.8), Options(top_k=3, temperature=1.5), Options(top_k=6)]


@pytest.fixture(scope="module")
def head() -> DigitHead:
    """One whose digits depend on those before them."""
    torch.manual_seed(0)
    head = DigitHead(LEVELS, WIDTH).double().eval().requires_grad_(False)
    for weight in head.parameters():
        weight += 0.3 * torch.randn_like(weight)
    return head


def material(branches: int):
    dice = torch.Generator().manual_seed(branches)
    x = torch.randn(branches * sum(COUNTS), WIDTH, generator=dice, dtype=torch.double)
    weights = torch.tensor([1.0, 2.0, -2.0][:branches] if branches != 2 else [2.5, -1.5], dtype=torch.double)
    noise = gumbel(torch.rand(sum(COUNTS), len(LEVELS), max(LEVELS), generator=dice, dtype=torch.double))
    return x, weights, noise, dice


def one_after_another(head: DigitHead, x, weights, noise, how: Options):
    position = iter(range(len(LEVELS)))

    def choose(logits):
        k = next(position)
        mixed = torch.einsum("k,klv->lv", weights, logits.view(len(weights), -1, logits.shape[-1]))
        mixed = filter_logits(mixed / how.temperature, how.top_k, how.top_p)
        return (mixed + noise[:, k, : mixed.shape[-1]]).argmax(-1).repeat(len(weights))

    return head.sample(x, choose)[: len(noise)]


def guessed(wanted, share, dice):
    """Some of the digits of some tokens are others."""
    other = torch.stack([torch.randint(n, wanted.shape[:1], generator=dice) for n in LEVELS], dim=1)
    return torch.where(torch.rand(wanted.shape, generator=dice) < share, other, wanted)


@pytest.mark.parametrize("how", OPTIONS, ids=str)
@pytest.mark.parametrize("share", [0.0, 0.02, 0.1, 1.0])
@pytest.mark.parametrize("branches", [1, 2, 3])
def test_up_to_the_first_wrong_guess_tokens_are_those_drawn_digit_after_digit(head, branches, share, how):
    x, weights, noise, dice = material(branches)
    wanted = one_after_another(head, x, weights, noise, how)
    guess = guessed(wanted, share, dice)
    shown = guess.clone()
    found = PackedHead(head, x).draw(x, weights, noise, shown, COUNTS, how)
    assert torch.equal(shown, guess), "the guesses are the caller's"
    for a, b, g in zip(found.split(COUNTS), wanted.split(COUNTS), guess.split(COUNTS)):
        wrong = (b != g).any(1).nonzero()[:1, 0].tolist()
        right = wrong[0] + 1 if wrong else len(b)
        assert torch.equal(a[:right], b[:right])


def test_after_as_many_turns_as_digits_every_token_is_right(head, monkeypatch):
    monkeypatch.setattr(packed_head, "TURNS", len(LEVELS))
    x, weights, noise, dice = material(2)
    wanted = one_after_another(head, x, weights, noise, Options())
    guess = guessed(wanted, 1.0, dice)
    assert torch.equal(PackedHead(head, x).draw(x, weights, noise, guess, COUNTS, Options()), wanted)


def test_a_token_that_is_kept_is_no_wrong_guess(head, monkeypatch):
    monkeypatch.setattr(packed_head, "TURNS", 1)  # no turn more than is needed
    x, weights, noise, dice = material(1)
    wanted = one_after_another(head, x, weights, noise, Options())
    guess = guessed(wanted, 1.0, dice)
    kept = torch.full_like(guess, -1)
    kept[:5], kept[14:20] = guess[:5], guess[14:20]
    found = PackedHead(head, x).draw(x, weights, noise, guess, COUNTS, Options(), kept)
    assert torch.equal(found[:5], guess[:5]) and torch.equal(found[14:20], guess[14:20])
    assert torch.equal(found[5], wanted[5]) and torch.equal(found[20], wanted[20])
    assert (wanted[:5] != guess[:5]).any() and (wanted[14:20] != guess[14:20]).any()


def test_good_guesses_are_looked_at_once(head, monkeypatch):
    x, weights, noise, _ = material(2)
    wanted, turns, given = one_after_another(head, x, weights, noise, Options()), [], PackedHead._given

    def counted(self, x, *rest):
        turns.append(x.shape[1])
        return given(self, x, *rest)

    monkeypatch.setattr(PackedHead, "_given", counted)
    guess = wanted.clone()
    guess[-1, -1] = (guess[-1, -1] + 1) % LEVELS[-1]  # after the last digit nothing else was guessed
    found = PackedHead(head, x).draw(x, weights, noise, guess, COUNTS, Options())
    assert turns == [sum(COUNTS)] and torch.equal(found, wanted)


@torch.no_grad()
def test_branches_are_added_up_in_single_precision(head):
    """Guidance by 100: what half precision would lose of the sum is more than what tells tokens apart."""
    x, _, noise, _ = material(1)
    x, noise, single = x.float(), noise.float(), DigitHead(LEVELS, WIDTH).eval()
    single.load_state_dict({name: value.float() for name, value in head.state_dict().items()})
    guess = torch.zeros(len(noise), len(LEVELS), dtype=torch.long)
    with torch.autocast("cpu", torch.bfloat16):
        packed = PackedHead(single, torch.zeros(1, dtype=torch.bfloat16))
        alone = packed.draw(x, torch.ones(1), noise, guess, COUNTS, Options())
        both = packed.draw(x.repeat(2, 1), torch.tensor([100.0, -99.0]), noise, guess, COUNTS, Options())
    assert packed.inner.dtype == torch.bfloat16 and packed.last.dtype == torch.float32
    assert (alone != both).any(1).float().mean() < 0.1  # equal branches say the same, whatever they weigh


@torch.no_grad()
def test_a_head_that_is_in_half_precision_itself_is_drawn_from(head):
    x, weights, noise, _ = material(2)
    half = DigitHead(LEVELS, WIDTH).bfloat16().eval()
    guess = torch.zeros(len(noise), len(LEVELS), dtype=torch.long)
    found = PackedHead(half, x.bfloat16()).draw(x.bfloat16(), weights, noise.float(), guess, COUNTS, Options())
    assert all(digit.min() >= 0 and digit.max() < n for digit, n in zip(found.unbind(1), LEVELS))
