"""The models of CIFAR-10. Each function trains one and writes its checkpoint and card to the folder ``to``."""

import math
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from vg import checkpoints
from vg.data import Images, cifar10
from vg.data.images import ImageSet
from vg.hashing import weight_hash
from vg.metrics import pca_images, perplexity, psnr, ssim, unigram_bits, usage
from vg.models import VAE, VQVAE, VQVAE2, TwoLevelConfig, TwoLevelPrior, VQVAE2Config, VQVAEConfig
from vg.profiles import device
from vg.recipes import image_batches, image_prior_batches, image_prior_loss, image_tokenizer_loss, vae_loss
from vg.train.shipping import fit, run_folder, ship
from vg.training import Recipe

VAE_NAME = "vae-cifar10"
ONE_LEVEL, TWO_LEVELS, PRIOR = "vqvae-cifar10", "vqvae2-cifar10", "prior-cifar10"
VAE_RECIPE = Recipe(steps=1600, lr=2e-3, muon=2e-2, warmup=50, clip=5.0, ema=0.998)
VQVAE_CONFIG = VQVAEConfig()
VQVAE2_CONFIG = VQVAE2Config()
VQVAE_RECIPE = Recipe(steps=1800, lr=2e-3, muon=2e-2, warmup=50, clip=5.0, ema=0.0)  # codes follow: no average
VQVAE2_RECIPE = VQVAE_RECIPE
PRIOR_SHAPE = dict(width=128, depth=6, heads=4)
PRIOR_RECIPE = Recipe(steps=1600, lr=1e-3, muon=2e-2, warmup=100, betas=(0.9, 0.95), decay=0.05, ema=0.99)


def open_cifar10() -> Images:
    """The images that the shipped models are trained on; says where they come from."""
    images = cifar10()
    print(images.describe())
    return images


def data_card(images: Images) -> dict:
    """What a checkpoint's card says of its data."""
    C, H, W = images.train.pixels.shape[1:]
    return {
        "source": images.name,
        "sha256": images.sha256,
        "train": len(images.train),
        "test": len(images.test),
        "shape": [C, H, W],
        "classes": list(images.classes),
    }


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


def train_vae(to: Path) -> None:
    """``vae-cifar10``: 128 numbers an image, trained on the bound itself (beta 1)."""
    images, recipe, batch = open_cifar10(), VAE_RECIPE, 64
    few = images.test.take(range(min(1000, len(images.test))))
    torch.manual_seed(recipe.seed)
    model = VAE().to(device())

    def evaluate(model: VAE) -> dict[str, float]:
        generator = torch.Generator().manual_seed(0)
        bits = torch.cat([model.bits_per_dim(part.to(device()), generator).cpu() for part in few.split(250)])
        return {"test bits per dim": float(bits.mean())}

    options = dict(
        folder=run_folder(VAE_NAME, images.name, images.sha256, batch),
        evaluate=evaluate,
        every=max(1, recipe.steps // 10),
    )
    trained = fit(model, vae_loss(), image_batches(images.train, batch), recipe, **options)
    facts = {"data": data_card(images), "batch": batch, "recipe": asdict(recipe)}
    ship(VAE_NAME, trained, facts, lambda model: vae_facts(model.to(device()), images), to)


def autoencoder_facts(model: VQVAE | VQVAE2, images: Images) -> dict:
    """What a VQ-VAE of one or two levels reaches on the test images, beside PCA at the same bits (8 a coefficient).

    PSNR is the mean over the images, with a peak of 255.
    """
    truth = images.test.take(range(len(images.test)))
    indices = [_grids(model.encode(part.to(device()))) for part in truth.split(250)]
    made = torch.cat([model.decode(part if isinstance(model, VQVAE2) else part[0]).cpu() for part in indices])
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


def train_autoencoder(name: str, model: VQVAE | VQVAE2, recipe: Recipe, to: Path, batch: int = 64) -> None:
    """Train a VQ-VAE of one or two levels on CIFAR-10 and ship it."""
    images = open_cifar10()
    few = images.test.take(range(min(1000, len(images.test))))

    def evaluate(model: VQVAE | VQVAE2) -> dict[str, float]:
        made = torch.cat([model.reconstruct(model.quantize(part.to(device())).codes).cpu() for part in few.split(250)])
        return {"test PSNR": float(psnr(made, few).mean())}

    draw = image_batches(images.train, batch)
    folder = run_folder(name, images.name, images.sha256, batch)
    options = dict(folder=folder, evaluate=evaluate, every=max(1, recipe.steps // 10))
    trained = fit(model.to(device()), image_tokenizer_loss, draw, recipe, **options)
    facts = {"data": data_card(images), "batch": batch, "recipe": asdict(recipe)}
    ship(name, trained, facts, lambda model: autoencoder_facts(model.to(device()), images), to)


def train_vqvae(to: Path) -> None:
    """``vqvae-cifar10``: 8x8 codes of 512, 576 bits an image."""
    torch.manual_seed(VQVAE_RECIPE.seed)
    train_autoencoder(ONE_LEVEL, VQVAE(VQVAE_CONFIG), VQVAE_RECIPE, to)


def train_vqvae2(to: Path) -> None:
    """``vqvae2-cifar10``: two levels, 576 bits an image as well."""
    torch.manual_seed(VQVAE2_RECIPE.seed)
    train_autoencoder(TWO_LEVELS, VQVAE2(VQVAE2_CONFIG), VQVAE2_RECIPE, to)


def encode_images(model: VQVAE | VQVAE2, images: ImageSet, batch: int = 250) -> tuple[Tensor, ...]:
    """All images as tokens: (N, h, w) for each level, top first, int32 (4 bytes a token)."""
    place = next(model.parameters()).device
    grids = []
    for first in range(0, len(images), batch):
        pixels = images.take(range(first, min(first + batch, len(images))))
        grids.append([grid.to("cpu", torch.int32) for grid in _grids(model.encode(pixels.to(place)))])
    return tuple(torch.cat(level) for level in zip(*grids))


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
    for kind, told in (("", True), ("_class_unknown", False)):
        with torch.no_grad():
            bits = [prior.nll_bits(t.to(place), b.to(place), y.to(place) if told else None) for t, b, y in rows]
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


def train_image_prior(to: Path, batch: int = 32) -> None:
    """``prior-cifar10``: both levels' priors over the codes of the ``vqvae2-cifar10`` that lies in ``to``."""
    images, recipe = open_cifar10(), PRIOR_RECIPE
    tokenizer = checkpoints.load(TWO_LEVELS, to).to(device())
    known, held = encode_images(tokenizer, images.train), encode_images(tokenizer, images.test)
    top, bottom = known
    torch.manual_seed(recipe.seed)
    grids = dict(top_grid=tuple(top.shape[1:]), grid=tuple(bottom.shape[1:]), num_labels=len(images.classes))
    config = TwoLevelConfig(top_levels=tokenizer.levels[0], levels=tokenizer.levels[1], **PRIOR_SHAPE, **grids)
    prior = TwoLevelPrior(config).to(device())
    few = [part[:500].long().to(device()) for part in (*held, images.test.labels)]

    def evaluate(model: TwoLevelPrior) -> dict[str, float]:
        above, below = model.nll_bits(*few)
        return {"top bits": float(above.mean()), "bottom bits": float(below.mean())}

    draw = image_prior_batches(top, bottom, images.train.labels, batch)
    folder = run_folder(PRIOR, images.name, images.sha256, batch, weight_hash(tokenizer))
    options = dict(folder=folder, evaluate=evaluate, every=max(1, recipe.steps // 10))
    trained = fit(prior, image_prior_loss(), draw, recipe, **options)
    facts = {
        "data": data_card(images),
        "batch": batch,
        "recipe": asdict(recipe),
        "tokenizer": {"name": TWO_LEVELS, "weights": weight_hash(tokenizer)},
    }
    labels = images.test.labels
    ship(PRIOR, trained, facts, lambda model: image_prior_facts(model.to(device()), known, held, labels), to)


def _grids(indices: Tensor | tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """Of one level or of two."""
    return indices if isinstance(indices, tuple) else (indices,)
