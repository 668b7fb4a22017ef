"""What a card says of the models of images: bits and PSNR on test images, beside PCA and counts of codes."""

import math
from typing import Any

import torch
from torch import Tensor

from vg.data import Images
from vg.data.images import ImageSet
from vg.evaluation.baselines import pca_images, unigram_bits
from vg.evaluation.metrics import perplexity, psnr, ssim, usage
from vg.models import VAE, VQVAE, VQVAE2, Tokenizer, TwoLevelPrior
from vg.precision import autocast, full_precision
from vg.profiles import device


def vae_facts(model: VAE, images: Images, seed: int = 0) -> dict:
    """What a VAE reaches on the test images, beside PCA with as many numbers an image.

    PSNR is the mean over the images, with a peak of 255, each rebuilt from its posterior's mean. The bound is taken by
    one draw of the latents for each image. A latent is active if its mean varies by over 0.01 between
    images (Burda et al., 2016, arXiv:1509.00519, section 5.3).
    """
    truth, generator, place = images.test.take(range(len(images.test))), torch.Generator().manual_seed(seed), device()
    made, means, parts = [], [], []
    with torch.no_grad():
        for part in (p.to(place) for p in truth.split(250)):
            means.append(model.encode(part)[0])
            made.append(model.decode(means[-1]).cpu())
            parts.append(model.elbo(part, generator))
    kl = torch.cat([elbo.kl for elbo in parts]).mean(0)  # (latents,) bits
    simple = pca_images(images.train, truth, model.config.latents)
    return {
        "images": len(truth),
        "latents": model.config.latents,
        "active_latents": int((torch.cat(means).var(0) > 0.01).sum()),
        "bits_per_dim": round(float(torch.cat([elbo.bits_per_dim() for elbo in parts]).mean()), 4),
        "kl_bits_an_image": round(float(kl.sum()), 1),
        "psnr": round(float(psnr(torch.cat(made), truth).mean()), 2),
        "psnr_pca": round(float(psnr(simple, truth).mean()), 2),
    }


def autoencoder_facts(model: VQVAE | VQVAE2, images: Images) -> dict:
    """What a VQ-VAE of one or two levels reaches on the test images, beside PCA at the same bits (8 a coefficient).

    PSNR is the mean over the images, with a peak of 255.
    """
    truth = images.test.take(range(len(images.test)))
    with autocast(device()):
        indices = [_grids(model.encode(part.to(device()))) for part in truth.split(250)]
        parts = [model.decode(part if isinstance(model, VQVAE2) else part[0]) for part in indices]
    made = torch.cat([full_precision(part).cpu() for part in parts])
    bits = model.raw_bits(tuple(truth.shape[2:]))
    simple = pca_images(images.train, truth, round(bits / 8), bits=8)
    facts = {
        "images": len(truth),
        "bits_an_image": bits,
        "psnr": round(float(psnr(made, truth).mean()), 2),
        "ssim": round(float(ssim(made, truth).mean()), 4),
        "psnr_pca": round(float(psnr(simple, truth).mean()), 2),
        "ssim_pca": round(float(ssim(simple, truth).mean()), 4),
    }
    quantizers = [model.top_quantizer, model.quantizer] if isinstance(model, VQVAE2) else [model.quantizer]
    for name, grids, quantizer in zip(["top_", ""][-len(quantizers) :], zip(*indices), quantizers):
        codes = torch.cat([grid.flatten() for grid in grids]).cpu()
        facts |= {
            f"{name}codes": quantizer.size,
            f"{name}usage": round(usage(codes, quantizer.size), 4),
            f"{name}perplexity": round(perplexity(codes, quantizer.size), 1),
        }
    return facts


def image_prior_facts(
    prior: TwoLevelPrior, known: tuple[Tensor, ...], held: tuple[Tensor, ...], labels: Tensor
) -> dict:
    """Bits a token on the test images, top and bottom, beside any code and codes as often as they occur.

    Args:
        prior: what is measured.
        known, held: (top, bottom) of the training and of the test images.
        labels: (N,), classes of the test images.
    """
    place = prior.top.start.device
    rows = list(zip(*(part.long().split(250) for part in (*held, labels))))
    facts: dict = {"images": len(labels)}
    for kind, labelled in (("", True), ("_class_unknown", False)):
        with torch.no_grad(), autocast(place):
            bits = [prior.nll_bits(t.to(place), b.to(place), y.to(place) if labelled else None) for t, b, y in rows]
        top, bottom = (torch.cat([part.cpu() for part in level]) for level in zip(*bits))
        facts |= {
            f"top_bits_a_token{kind}": round(float(top.mean()), 3),
            f"bottom_bits_a_token{kind}": round(float(bottom.mean()), 3),
            f"bits_an_image{kind}": round(float(top.flatten(1).sum(1).mean() + bottom.flatten(1).sum(1).mean()), 1),
        }
    for name, seen, truth, level in zip(("top", "bottom"), known, held, (prior.top, prior.bottom)):
        size = level.quantizer.size
        facts[f"{name}_uniform"] = round(math.log2(size), 3)
        facts[f"{name}_unigram"] = round(float(unigram_bits(seen.long(), truth.long(), size).mean()), 3)
    return facts


def encode_images(model: Tokenizer[Any], images: ImageSet, batch: int = 250) -> tuple[Tensor, ...]:
    """All images as tokens: (N, h, w) for each level, top first, int32 (4 bytes a token)."""
    place = next(model.parameters()).device
    grids = []
    for first in range(0, len(images), batch):
        pixels = images.take(range(first, min(first + batch, len(images))))
        with autocast(place):
            grids.append([grid.to("cpu", torch.int32) for grid in _grids(model.encode(pixels.to(place)))])
    return tuple(torch.cat(level) for level in zip(*grids))


def _grids(indices: Tensor | tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """Of one level or of two."""
    return indices if isinstance(indices, tuple) else (indices,)
