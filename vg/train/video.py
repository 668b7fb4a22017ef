"""``video-vqvae-64`` and ``video-fsqvae-64``: one Conv3D autoencoder of the film's clips, with either quantizer.

Both have 1,024 and 1,000 codes for tokens of 4x8x8, the same networks, batches, steps and seed, so that they can be
compared: 2,560 and 2,551 bits for 16 frames. FSQ has hidden layers beside it instead of a codebook: about as many
weights.
"""

from dataclasses import asdict
from pathlib import Path

import torch

from vg.data import Clips, FrameStore, split_shots
from vg.models import QuantizerConfig, VideoAutoencoder, VideoConfig
from vg.profiles import device
from vg.recipes import tokenizer_batches, tokenizer_loss
from vg.train.film import FRAMES, data_card, open_film, tokenizer_facts, validation_psnr
from vg.train.shipping import fit, run_folder, ship
from vg.training import Recipe, Trained

CONFIGS = {
    "video-vqvae-64": VideoConfig(quantizer=QuantizerConfig("vq", codebook_size=1024)),
    "video-fsqvae-64": VideoConfig(quantizer=QuantizerConfig("fsq", levels=(8, 5, 5, 5))),
}
# A codebook belongs to the weights as they are, so there is no average of them; beside FSQ one brought nothing.
RECIPE = Recipe(steps=2800, lr=2e-3, muon=2e-2, warmup=50, clip=5.0, ema=0.0)
BATCH = 4


def train_autoencoder(store: FrameStore, config: VideoConfig, folder: Path) -> tuple[Trained, dict]:
    """Train on the store's training shots; the validation PSNR is in the history. Goes on in ``folder``."""
    train, _ = split_shots(store.shots)
    torch.manual_seed(RECIPE.seed)
    model = VideoAutoencoder(config).to(device())
    draw = tokenizer_batches(Clips(store, train, FRAMES), BATCH)
    trained = fit(model, tokenizer_loss, draw, RECIPE, folder=folder, evaluate=validation_psnr(store), every=250)
    return trained, {"batch": BATCH, "frames": FRAMES, "recipe": asdict(RECIPE)}


def _train(name: str, to: Path) -> None:
    store = open_film()
    trained, how = train_autoencoder(store, CONFIGS[name], run_folder(name, store.name, data_card(store), BATCH))
    ship(name, trained, {"data": data_card(store), **how}, lambda model: tokenizer_facts(model, store), to)


def train_vqvae(to: Path) -> None:
    """``video-vqvae-64``: with a learned codebook, on the film's training shots."""
    _train("video-vqvae-64", to)


def train_fsqvae(to: Path) -> None:
    """``video-fsqvae-64``: with FSQ, on the film's training shots."""
    _train("video-fsqvae-64", to)
