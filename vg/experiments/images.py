"""Training the models of CIFAR-10: autoencoders, and a prior over the codes of one."""

from collections.abc import Callable

import torch
from torch import nn

from vg import checkpoints
from vg.data import Images, cifar10
from vg.evaluation.images import autoencoder_facts, encode_images, image_prior_facts, vae_facts
from vg.evaluation.metrics import psnr
from vg.experiments.batches import image_batches, image_prior_batches
from vg.experiments.config import ImagePriorSize
from vg.experiments.losses import image_prior_loss, image_tokenizer_loss, vae_loss
from vg.experiments.run import Part, Run
from vg.hashing import weight_hash
from vg.models import VAE, VQVAE, VQVAE2, TwoLevelConfig, TwoLevelPrior, VAEConfig, VQVAEConfig
from vg.precision import autocast, full_precision
from vg.profiles import device
from vg.training import Loss

FEW = 1000  # test images that are measured while it trains


def open_cifar10() -> Images:
    """The images that the shipped models are trained on; says where they come from."""
    images = cifar10()
    print(images.describe())
    return images


def data_card(images: Images) -> dict:
    """What a checkpoint's card says of its data."""
    return {
        "source": images.name,
        "sha256": images.sha256,
        "train": len(images.train),
        "test": len(images.test),
        "shape": list(images.train.pixels.shape[1:]),
        "classes": list(images.classes),
    }


def train_images(run: Run) -> Part:
    """The experiment's model of CIFAR-10, on the training images; how good it is on test images is in its history."""
    experiment = run.image_experiment
    images, recipe = open_cifar10(), run.recipe(experiment.recipe)
    config = experiment.model
    if isinstance(config, ImagePriorSize):
        return _train_prior(run, config, images)
    few = images.test.take(range(min(FEW, len(images.test)))).split(250)
    torch.manual_seed(recipe.seed)
    model: VAE | VQVAE | VQVAE2
    loss: Loss = image_tokenizer_loss
    facts: Callable[..., dict] = autoencoder_facts
    if isinstance(config, VAEConfig):
        model, loss, facts = VAE(config), vae_loss(), vae_facts
    else:
        model = VQVAE(config) if isinstance(config, VQVAEConfig) else VQVAE2(config)

    def evaluate(model: nn.Module) -> dict[str, float]:
        if isinstance(model, VAE):
            generator = torch.Generator().manual_seed(0)
            bits = torch.cat([model.bits_per_dim(part.to(device()), generator).cpu() for part in few])
            return {"test bits per dim": float(bits.mean())}
        with autocast(device()):
            made = [full_precision(model.reconstruct(model.quantize(part.to(device())).codes)).cpu() for part in few]
        return {"test PSNR": float(psnr(torch.cat(made), torch.cat(few)).mean())}

    trained = run.fit(model.to(device()), loss, image_batches(images.train, experiment.batch), recipe, evaluate)
    return Part(trained, {"data": data_card(images)}, lambda model: facts(model, images))


def _train_prior(run: Run, size: ImagePriorSize, images: Images) -> Part:
    """Both levels' priors over the codes of a finished VQ-VAE-2."""
    experiment, recipe = run.image_experiment, run.recipe(run.image_experiment.recipe)
    tokenizer = checkpoints.load(experiment.use).to(device())
    known, held = encode_images(tokenizer, images.train), encode_images(tokenizer, images.test)
    top, bottom = known
    torch.manual_seed(recipe.seed)
    config = TwoLevelConfig(
        top_levels=tokenizer.levels[0], levels=tokenizer.levels[1], top_grid=tuple(top.shape[1:]),
        grid=tuple(bottom.shape[1:]), num_labels=len(images.classes),
        width=size.width, depth=size.depth, heads=size.heads,
    )  # fmt: skip
    few = [part[: FEW // 2].long().to(device()) for part in (*held, images.test.labels)]

    def evaluate(model: TwoLevelPrior) -> dict[str, float]:
        with autocast(device()):
            above, below = model.nll_bits(*few)
        return {"top bits": float(above.mean()), "bottom bits": float(below.mean())}

    batches = image_prior_batches(top, bottom, images.train.labels, experiment.batch)
    trained = run.fit(TwoLevelPrior(config).to(device()), image_prior_loss(), batches, recipe, evaluate)
    facts = {
        "data": data_card(images),
        "tokenizer": {"name": experiment.use, "weights": weight_hash(tokenizer)},
    }
    return Part(trained, facts, lambda model: image_prior_facts(model, known, held, images.test.labels))
