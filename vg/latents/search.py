"""Better codes for a clip than the encoder's guess: search for them, with the decoder and a prior as the judges."""

import math

import torch
from torch import Tensor, nn

from vg.models.digits import DigitEmbedding
from vg.models.frozen import evaluating
from vg.models.transformer import Prior
from vg.models.tubelet import TubeletTokenizer
from vg.progress import tqdm


@torch.enable_grad()
def search_codes(
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
    digit is drawn towards the neighbour that costs less, itself and in what it makes of the tokens after it.

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
        raise ValueError(f"search_codes: steps is {steps} and price {price}, expected 0 or more.")
    if price and (prior is None or tuple(prior.levels) != tuple(tokenizer.levels)):
        theirs = "none" if prior is None else f"one over tokens with levels {list(prior.levels)}"
        raise ValueError(
            f"search_codes: bits have a price, but the prior is {theirs}; the tokenizer has {list(tokenizer.levels)}. "
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
        bits, slopes = rate(prior, indices) if price and prior is not None else (0.0, 0.0)
        score = _psnr(made.detach(), video) - price * bits / 1000
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


def rate(prior: Prior, indices: Tensor) -> tuple[Tensor, Tensor]:
    """What tokens cost, and how that changes with each of their digits.

    A digit is paid for, and it is read: by the digits after it, and by the tokens after its own. For what it costs
    itself, the slope is taken between the bits of the levels above and below it. For what it does to the others, the
    gradient of their bits is followed along the line between the embeddings of those two levels.

    Args:
        prior: over these tokens; its weights do not change.
        indices: ``(B, t, h, w)`` int64.

    Returns:
        bits of each clip ``(B,)``; and ``(B, t, h, w, digits)``, about so many bits more for a step of one level up.
    """
    digits, read = prior.digits(indices), []  # (B, L, digits)

    def watch(module: nn.Module, given: tuple[Tensor], embedded: Tensor) -> Tensor:
        read.append((module, given[0], embedded.detach().requires_grad_()))
        return read[-1][-1]

    embeddings = [module for module in prior.modules() if isinstance(module, DigitEmbedding)]
    tables = {embedding: list(enumerate(embedding.tables)) for embedding in embeddings}  # of all digits of a token
    tables |= {table: [(i, table)] for several in tables.values() for i, table in several}  # of one digit, in the head
    hooks = [module.register_forward_hook(watch) for module in tables]
    try:
        with torch.enable_grad(), evaluating(prior):
            costs = [
                logits.log_softmax(-1) / -math.log(2)  # (B, L, levels[i]), bits of each level
                for logits in prior.head.given(prior.hidden(digits), digits)
            ]
            paid = [cost.gather(-1, digits[..., i : i + 1]) for i, cost in enumerate(costs)]
            bits = torch.cat(paid, dim=-1).flatten(1).sum(1)
            gradients = torch.autograd.grad(bits.sum(), [embedded for *_, embedded in read], allow_unused=True)
    finally:
        for hook in hooks:
            hook.remove()
    slopes = torch.zeros(digits.shape, device=bits.device, dtype=bits.dtype)
    with torch.no_grad():
        for i, cost in enumerate(costs):
            up, down = _neighbours(digits[..., i : i + 1], cost.shape[-1])
            slopes[..., i : i + 1] += (cost.gather(-1, up) - cost.gather(-1, down)) / (up - down)
        for (module, given, _), gradient in zip(read, gradients):
            if gradient is None:  # otherwise (B, n, D): the first n tokens are read by this module
                continue
            for (i, table), digit in zip(tables[module], given.view(*gradient.shape[:-1], -1).unbind(-1)):
                up, down = _neighbours(digit, table.num_embeddings)
                along = ((table.weight[up] - table.weight[down]) * gradient).sum(-1) / (up - down)
                slopes[:, : along.shape[1], i] += along
    return bits.detach(), slopes.view(*indices.shape, -1).clamp(-8, 8)


def _psnr(video: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each clip, in dB: (B,). (``vg.latents`` lies below what evaluates it.)"""
    return 10 * torch.log10(4 / (video.clamp(-1, 1) - truth.clamp(-1, 1)).square().flatten(1).mean(1))


def _neighbours(digit: Tensor, levels: int) -> tuple[Tensor, Tensor]:
    """The levels above and below; at either end, the level itself in place of one that is not there."""
    return (digit + 1).clamp(max=levels - 1), (digit - 1).clamp(min=0)
