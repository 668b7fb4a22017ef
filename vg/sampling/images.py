"""New images: a prior's tokens, decoded."""

from typing import Any

from torch import Tensor

from vg.interrupts import without_gradients
from vg.models.transformer import Prior
from vg.models.two_level import TwoLevelPrior
from vg.models.vqvae import VQVAE, VQVAE2
from vg.precision import autocast, full_precision
from vg.sampling.options import OTHER_DICE, Labels, check_levels
from vg.sampling.video import generate_tokens


@without_gradients
def sample_images(
    prior: Prior | TwoLevelPrior,
    autoencoder: VQVAE | VQVAE2,
    batch: int = 1,
    seed: int = 0,
    *,
    label: Labels = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    guidance: float = 1.0,
    progress: bool = True,
) -> Tensor:
    """New images: the tokens of a prior over images, the top level first where there are two, decoded.

    Args:
        prior: a ``Prior`` over the tokens of a ``VQVAE``, or a ``TwoLevelPrior`` over those of a ``VQVAE2``.
        autoencoder: the one whose tokens the prior was trained on.
        batch: how many images; as many as there are labels, if these are several.
        seed: the same arguments and seed give the same images; image ``b`` is seeded with ``seed + b``.
        label: the class, or one for each image; None for whatever comes.
        temperature, top_k, top_p, guidance: as in ``generate``.
        progress: show a bar.

    Returns:
        (batch, C, H, W) in [-1, 1].

    Raises:
        ValueError: if the models do not fit each other, or a number is out of its range.
    """
    options: dict[str, Any] = dict(temperature=temperature, top_k=top_k, top_p=top_p, guidance=guidance)
    parts = [prior.top, prior.bottom] if isinstance(prior, TwoLevelPrior) else [prior]
    theirs = autoencoder.levels if isinstance(autoencoder, VQVAE2) else (autoencoder.levels,)
    check_levels([part.levels for part in parts], list(theirs))
    options |= dict(batch=batch, label=label, progress=progress)
    device = next(autoencoder.parameters()).device
    tokens = generate_tokens(parts[0], None, 1, seed, **options)  # (batch, 1, h, w)
    levels = [tokens]
    if isinstance(prior, TwoLevelPrior):
        levels.append(generate_tokens(prior.bottom, None, 1, seed + OTHER_DICE, condition=tokens, **options))
    grids = tuple(level[:, 0].to(device) for level in levels)
    with autocast(device):
        return full_precision(autoencoder.decode(grids if isinstance(prior, TwoLevelPrior) else grids[0]))
