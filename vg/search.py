"""Better codes for a clip than the encoder's guess: search for them, with the decoder as the judge."""

import torch
from torch import Tensor
from tqdm.auto import tqdm

from vg.metrics import psnr
from vg.models.tubelet import TubeletTokenizer


def search(
    tokenizer: TubeletTokenizer, video: Tensor, steps: int = 20, lr: float = 0.04, *, progress: bool = True
) -> Tensor:
    """Tokens of clips, improved by gradient descent through the decoder.

    An encoder guesses in one pass; it has to be good for all clips at once. Here the vectors that FSQ rounds are
    moved for one clip at a time, by Adam, while both networks stay as they are (Campos et al., 2019,
    arXiv:1906.01223, for a codec; Kim et al., 2018, arXiv:1802.02550, for a VAE). The tokens are as many as before
    and the decoder is the same: encoding alone takes longer.

    Args:
        tokenizer: frozen or not; its weights do not change.
        video: ``(B, C, T, H, W)`` in [-1, 1]. Clips are independent of each other.
        steps: of Adam; 0 gives what ``encode`` gives.
        lr: its first step, in the units of the vectors before FSQ, where a level is between 0.3 and 1 wide; it falls
            to 0 in a straight line.
        progress: show a bar.

    Returns:
        indices ``(B, t, h, w)`` int64: of each clip the best that was seen. None is worse than ``encode``'s.

    Raises:
        ValueError: if ``steps`` is negative.
    """
    if steps < 0:
        raise ValueError(f"search: steps is {steps}, expected 0 or more.")
    with torch.no_grad():
        z, used = tokenizer.vectors(video), tokenizer.used(video)
    z = z.detach().clone().requires_grad_()
    adam = torch.optim.Adam([z], lr=lr)
    best_indices, best = tokenizer.quantizer(z)[1], torch.full((len(video),), -torch.inf, device=video.device)
    for step in tqdm(range(steps + 1), unit="step", desc="searching codes", disable=not progress, mininterval=1):
        codes, indices = tokenizer.quantizer(z)
        with torch.set_grad_enabled(step < steps):
            made = tokenizer.reconstruct(codes, video.shape[2:])
        score = psnr(made.detach(), video)
        better = score > best
        best = torch.where(better, score, best)
        best_indices = torch.where(better[:, None, None, None], indices, best_indices)
        if step < steps:
            adam.param_groups[0]["lr"] = lr * (1 - step / steps)
            error = (made - video).square().flatten(1).mean(1)
            (gradient,) = torch.autograd.grad((error + 1e-6).log().sum(), z)
            z.grad = gradient * used
            adam.step()
    return best_indices
