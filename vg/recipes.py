"""How the shipped models are trained: batches and losses. The notebooks use them too, for fewer steps."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from vg.data.clips import Clips
from vg.latents import Windows
from vg.models.transformer import Prior
from vg.models.tubelet import TubeletTokenizer

Draw = Callable[[torch.Generator], Tensor]


def tokenizer_batches(clips: Clips, batch: int, shift: int = 2) -> Draw:
    """Random clips, mirrored half of the time and moved by up to ``shift`` pixels: float (B, C, T, H, W)."""

    def draw(generator: torch.Generator) -> Tensor:
        video = clips.sample(batch, generator)
        if torch.rand((), generator=generator) < 0.5:
            video = video.flip(-1)
        down, right = torch.randint(2 * shift + 1, (2,), generator=generator).tolist()
        H, W = video.shape[-2:]
        padded = F.pad(video.flatten(0, 1), (shift,) * 4, mode="replicate")
        return padded[..., down : down + H, right : right + W].reshape(video.shape)

    return draw


def tokenizer_loss(tokenizer: TubeletTokenizer, video: Tensor) -> Tensor:
    """Root mean squared error of each clip, averaged over the clips.

    PSNR is its logarithm: with the root, a quiet clip weighs about as much as a wild one. Squared errors alone
    would spend nearly all bits on the wild.
    """
    codes, _ = tokenizer.quantize(video)
    error = (tokenizer.reconstruct(codes, video.shape[2:]) - video).square().flatten(1).mean(1)
    return (error + 1e-4).sqrt().mean()


def prior_batches(windows: Windows, batch: int) -> Draw:
    """Random windows of the latent cache with their shots' numbers: int64 (B, t * h * w + 1), the number last."""

    def draw(generator: torch.Generator) -> Tensor:
        numbers = windows.draw(batch, generator)
        return torch.cat([windows.take(numbers).flatten(1), windows.shots[numbers][:, None]], dim=1)

    return draw


def prior_loss(corrupt: float = 0.1, drop_scene: float = 0.5) -> Callable[[Prior, Tensor], Tensor]:
    """Bits a token, for batches of ``prior_batches``.

    Args:
        corrupt: of each window up to this share of the tokens that the prior sees, not of those that it
            has to predict, is replaced by tokens of other windows. When it generates it sees its own mistakes; so it
            learns that what it sees may be wrong (the exposure bias of Bengio et al., 2015, arXiv:1506.03099).
        drop_scene: share of the windows whose scene it is not told.
    """

    def loss(prior: Prior, batch: Tensor) -> Tensor:
        B = len(batch)
        indices, scene = batch[:, :-1].view(B, -1, *prior.grid), batch[:, -1]
        share = corrupt * torch.rand(B, 1, 1, 1, device=batch.device)
        wrong = torch.rand(indices.shape, device=batch.device) < share
        others = indices.flatten()[torch.randint(indices.numel(), indices.shape, device=batch.device)]
        dropped = torch.rand(B, device=batch.device) < drop_scene
        scene = torch.where(dropped, -1, scene) if prior.scene is not None else None
        return prior.bits(indices, scene, given=torch.where(wrong, others, indices)).mean()

    return loss
