"""Losses: from a model and a batch to a scalar. The notebooks use them too."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vg.data import Clips, Shot
from vg.data.augment import degrade, jitter
from vg.data.pixels import YCBCR
from vg.evaluation.damage import DAMAGES, DamagedClips
from vg.evaluation.features import ordered, shot_numbers
from vg.experiments.batches import unpack_batch
from vg.models.features import ORDERS, ClipFeatures
from vg.models.goals import Goal
from vg.models.tokenizer import Tokenizer
from vg.models.transformer import Prior
from vg.models.tubelet import TubeletTokenizer
from vg.models.two_level import TwoLevelPrior
from vg.models.video import VideoAutoencoder
from vg.training import Loss

CHROMA = 1 / 6
SHOT_WEIGHT = 0.3  # of the shot's name in the loss of figures


def squared_error(made: Tensor, truth: Tensor) -> Tensor:
    """Mean squared error of each of the batch, as eyes weigh it: (B, C, ...), C 1 or 3 -> (B,).

    Colours are compared in Y, Cb and Cr, with the weights 6 : 1 : 1 that video coding gives them (Ohm et al., 2012,
    "Comparison of the coding efficiency of video coding standards", section V). Luma has the weight 1, so that a grey
    picture costs the same in one channel and in three.
    """
    error = made - truth
    if error.shape[1] == 3:
        weight = error.new_tensor((1.0, CHROMA, CHROMA)).sqrt()[:, None]
        error = torch.einsum("yc,bc...->by...", weight * error.new_tensor(YCBCR), error)
        return error.square().flatten(2).mean(2).sum(1)
    return error.square().flatten(1).mean(1)


def tokenizer_loss(tokenizer: TubeletTokenizer | VideoAutoencoder, video: Tensor) -> Tensor:
    """Root mean squared error of each clip, averaged over the clips; and what a codebook asks for.

    PSNR is its logarithm: with the root, a quiet clip weighs about as much as a wild one. The gradient of a squared
    error grows with the error, so that wild clips would weigh more.
    """
    quantized = tokenizer.quantize(video)
    error = squared_error(tokenizer.reconstruct(quantized.codes, video.shape[2:]), video)
    return (error + 1e-4).sqrt().mean() + quantized.loss


def tubelet_loss(tokenizer: TubeletTokenizer, video: Tensor, motion: float = 0.0) -> Tensor:
    """Logarithm of each clip's root mean squared error, averaged: PSNR but for a factor and the sign.

    Args:
        tokenizer: learns.
        video: (B, C, T, H, W) in [-1, 1].
        motion: weight of the squared error of the steps from each frame to the next, added to that of the frames. What
            stands still is most of a picture, so that PSNR alone spends few bits on what moves.
    """
    made = tokenizer.reconstruct(tokenizer.quantize(video).codes, video.shape[2:])
    error = squared_error(made, video)
    if motion and video.shape[2] > 1:
        error = error + motion * squared_error(made.diff(dim=2), video.diff(dim=2))
    return (error + 2e-4).log().mean() / 2


def vae_loss(beta: float = 1.0) -> Loss:
    """The negative ELBO in bits per dimension, its KL weighed by ``beta`` (Higgins et al., 2017, beta-VAE).

    Both parts are sums over the image before they are divided by its size. With a mean over pixels and a sum over
    latents, as is often written, ``beta`` would be in effect as large as the image has numbers, and the latents empty.
    """
    return lambda model, images: model.bits_per_dim(images, beta=beta).mean()


def image_tokenizer_loss(model: Tokenizer[Any], images: Tensor) -> Tensor:
    """Logarithm of each image's root mean squared error, averaged, and what the quantizers ask for.

    The logarithm is PSNR but for a factor, so that a plain image weighs as much as a busy one (``tokenizer_loss``
    has the root without the logarithm: nearly the same).
    """
    quantized = model.quantize(images)
    error = (model.reconstruct(quantized.codes) - images).square().flatten(1).mean(1)
    return (error + 2e-4).log().mean() / 2 + quantized.loss


def prior_loss(
    token_noise: float = 0.1, drop_label: float = 0.5, drop_direction: float = 0.2, drop_goal: float = 0.5
) -> Loss:
    """Bits a token, for batches of ``prior_batches``.

    A prior that takes goals is told one of some of the clips: one of the clip's own latent frames after the first.

    Args:
        token_noise: of each window up to this share of the tokens that the prior sees, not of those that it
            has to predict, is replaced by tokens of other windows. When it generates it sees its own mistakes; so it
            learns that what it sees may be wrong (exposure bias: Ranzato et al., 2015, arXiv:1511.06732).
        drop_label: share of the windows whose label it is not given.
        drop_direction: share of the batches of which it is not told whether they run backwards.
        drop_goal: share of the windows without a label whose goal it is not given; of those with one half as many are
            given theirs, for a goal says all that a label says, and more.
    """

    def loss(prior: Prior, batch: Tensor) -> Tensor:
        indices, scene, backwards = unpack_batch(batch)
        B, t = indices.shape[:2]
        share = token_noise * torch.rand(B, 1, 1, 1, device=batch.device)
        wrong = torch.rand(indices.shape, device=batch.device) < share
        others = indices.flatten()[torch.randint(indices.numel(), indices.shape, device=batch.device)]
        dropped = torch.rand(B, device=batch.device) < drop_label
        scene = torch.where(dropped, -1, scene) if prior.label_embedding is not None else None
        shown, goal = torch.where(wrong, others, indices), None
        if prior.goal is not None:
            at = torch.randint(1, max(2, t), (B,), device=batch.device).clamp(max=t - 1)
            tokens = shown[torch.arange(B, device=batch.device), at]
            given = (1 - drop_goal) * (1.0 if scene is None else torch.where(scene < 0, 1.0, 0.5))
            dropped_goal = (at > prior.goal.longest) | (at == 0) | (torch.rand(B, device=batch.device) >= given)
            goal = Goal(tokens, torch.where(dropped_goal, -1, at))
        if prior.grid != tuple(indices.shape[2:]):
            prior = prior.at((indices.shape[2], indices.shape[3]))
        if prior.config.directions:
            known = backwards >= 0 and torch.rand(()) >= drop_direction
            prior = prior.running(bool(backwards) if known else None)
        return prior.nll_bits(indices, scene, given=shown, goal=goal).mean()

    return loss


def image_prior_loss(token_noise: float = 0.0, drop_label: float = 0.1) -> Loss:
    """Bits of a top token plus bits of a bottom token, for batches of ``image_prior_batches``.

    Args:
        token_noise: as in ``prior_loss``.
        drop_label: share of the images whose class it is not given.
    """

    def loss(prior: TwoLevelPrior, batch: Tensor) -> Tensor:
        B, device = len(batch), batch.device
        top, bottom, label = batch.split(
            [prior.top.tokens_per_latent_frame, prior.bottom.tokens_per_latent_frame, 1], dim=1
        )
        truth = top.view(B, *prior.top.grid), bottom.view(B, *prior.bottom.grid)
        share = token_noise * torch.rand(B, 1, 1, device=device)
        shown = []
        for indices in truth:
            others = indices.flatten()[torch.randint(indices.numel(), indices.shape, device=device)]
            shown.append(torch.where(torch.rand(indices.shape, device=device) < share, others, indices))
        dropped = torch.rand(B, device=device) < drop_label
        label = torch.where(dropped, -1, label[:, 0]) if prior.config.num_labels else None
        above, below = prior.nll_bits(*truth, label, given=tuple(shown))
        return above.mean() + below.mean()

    return loss


def features_loss(clips: Clips, shots: list[Shot]) -> Loss:
    """Cross-entropy of the shot's name and of the frames' order, for batches of clip numbers.

    Clips are mirrored half of the time, so that left and right do not tell the arrow of time, and degraded.
    """
    names = shot_numbers(clips, shots)

    def loss(model: ClipFeatures, numbers: Tensor) -> Tensor:
        where, B = next(model.parameters()).device, len(numbers)
        order = torch.randint(len(ORDERS), (B,))
        mirrored = torch.rand(B) < 0.5
        video = [ordered(clip, ORDERS[k]) for clip, k in zip(clips.take(numbers.tolist()), order.tolist())]
        video = torch.stack([clip.flip(-1) if turn else clip for clip, turn in zip(video, mirrored)]).to(where)
        shot, said = model.guess(degrade(jitter(video)))
        return F.cross_entropy(shot, names[numbers.cpu()].to(where)) + F.cross_entropy(said, order.to(where))

    return loss


def figures_loss(clips: Clips, shots: list[Shot], made: DamagedClips) -> Loss:
    """Cross-entropy of what became of a part, and of its shot's name, for batches of clip numbers."""
    names = shot_numbers(clips, shots)

    def loss(model: ClipFeatures, numbers: Tensor) -> Tensor:
        where = next(model.parameters()).device
        kinds = torch.randint(len(DAMAGES), (len(numbers),))
        video = degrade(made.parts(clips, numbers.tolist(), kinds.tolist()), coarsest=0.75, noise=0.03)
        shot, said = model.guess(video.to(where))
        damage_loss = F.cross_entropy(said, kinds.to(where))
        return damage_loss + SHOT_WEIGHT * F.cross_entropy(shot, names[numbers.cpu()].to(where))

    return loss
