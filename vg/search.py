"""Better codes for a clip than the encoder's guess: search for them, with the decoder and a prior as the judges."""

import math

import torch
from torch import Tensor
from tqdm.auto import tqdm

from vg.metrics import psnr
from vg.models.transformer import Prior
from vg.models.tubelet import TubeletTokenizer


def search(
    tokenizer: TubeletTokenizer,
    video: Tensor,
    steps: int = 20,
    lr: float = 0.04,
    *,
    prior: Prior | None = None,
    price: float = 0.0,
    progress: bool = True,
) -> Tensor:
    """Tokens of clips, improved by gradient descent through the decoder.

    An encoder guesses in one pass; it has to be good for all clips at once. Here the vectors that FSQ rounds are
    moved for one clip at a time, by Adam, while both networks stay as they are (Campos et al., 2019,
    arXiv:1906.01223, for a codec; Kim et al., 2018, arXiv:1802.02550, for a VAE). The tokens are as many as before
    and the decoder is the same: encoding alone takes longer.

    With a ``prior`` and a ``price`` the bits that the tokens cost count too: what is searched for is the largest PSNR
    less the price of the bits, as a codec's encoder does it (rate-distortion optimization: Sullivan and Wiegand, 1998,
    "Rate-distortion optimization for video compression"; for neural codecs Yang et al., 2020, arXiv:2006.04240). A
    digit is drawn towards the neighbour that the prior finds likelier. What it means for the tokens after it is
    not foreseen, only counted.

    Args:
        tokenizer: frozen or not; its weights do not change.
        video: ``(B, C, T, H, W)`` in [-1, 1]. Clips are independent of each other.
        steps: of Adam; 0 gives what ``encode`` gives.
        lr: its first step, in the units of the vectors before FSQ, where a level is between 0.3 and 1 wide; it falls
            to 0 in a straight line.
        prior: over these tokens; its weights do not change.
        price: of 1,000 bits, in decibels; 0 looks at the picture alone.
        progress: show a bar.

    Returns:
        indices ``(B, t, h, w)`` int64: of each clip the best that was seen. None is worse than ``encode``'s.

    Raises:
        ValueError: if ``steps`` or ``price`` is negative, or there is a price and no prior over these tokens.
    """
    if steps < 0 or price < 0:
        raise ValueError(f"search: steps is {steps} and price {price}, expected 0 or more.")
    if price and (prior is None or tuple(prior.levels) != tuple(tokenizer.levels)):
        theirs = "none" if prior is None else f"one over tokens with levels {list(prior.levels)}"
        raise ValueError(
            f"search: bits have a price, and the prior is {theirs}; the tokenizer's are {list(tokenizer.levels)}. "
            "Give the prior that was trained on its tokens."
        )
    with torch.no_grad():
        z, used = tokenizer.vectors(video), tokenizer.used(video)
    z = z.detach().clone().requires_grad_()
    adam = torch.optim.Adam([z], lr=lr)
    best_indices, best = tokenizer.quantizer(z)[1], torch.full((len(video),), -torch.inf, device=video.device)
    for step in tqdm(range(steps + 1), unit="step", desc="searching codes", disable=not progress, mininterval=1):
        codes, indices = tokenizer.quantizer(z)
        with torch.set_grad_enabled(step < steps):
            made = tokenizer.reconstruct(codes, video.shape[2:])
        bits, slopes = rate(prior, indices) if price else (0.0, 0.0)
        score = psnr(made.detach(), video) - price * bits / 1000
        better = score > best
        best = torch.where(better, score, best)
        best_indices = torch.where(better[:, None, None, None], indices, best_indices)
        if step < steps:
            adam.param_groups[0]["lr"] = lr * (1 - step / steps)
            error = (made - video).square().flatten(1).mean(1)
            decibels = 10 * (error + 1e-6).log10().sum()
            cost = (slopes * codes * tokenizer.quantizer.width).sum() * price / 1000
            (gradient,) = torch.autograd.grad(decibels + cost, z)
            z.grad = gradient * used
            adam.step()
    return best_indices


@torch.no_grad()
def rate(prior: Prior, indices: Tensor) -> tuple[Tensor, Tensor]:
    """What tokens cost, and how that changes with each of their digits.

    Args:
        prior: over these tokens.
        indices: ``(B, t, h, w)`` int64.

    Returns:
        bits of each clip ``(B,)``; and ``(B, t, h, w, digits)``, bits for a step of one level up: half of the
        difference between the levels above and below a digit, everything else as it is. At the lowest and the highest
        level, the difference to the only neighbour.
    """
    digits = prior.digits(indices)  # (B, L, digits)
    total, slopes = torch.zeros(len(indices), device=indices.device), []
    for i, logits in enumerate(prior.head.given(prior.hidden(digits), digits)):
        bits = logits.log_softmax(-1) / -math.log(2)  # (B, L, levels[i])
        digit = digits[..., i : i + 1]
        up, down = (digit + 1).clamp(max=bits.shape[-1] - 1), (digit - 1).clamp(min=0)
        total += bits.gather(-1, digit).flatten(1).sum(1)
        slopes.append((bits.gather(-1, up) - bits.gather(-1, down)) / (up - down))
    return total, torch.cat(slopes, dim=-1).view(*indices.shape, len(prior.levels)).clamp(-6, 6)
