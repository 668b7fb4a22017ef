"""A film of ten seconds that is drawn here, and an experiment on it that takes seconds."""

import torch

OPTIONS = """--size 16 --fps 12 --scale 1
    --tokenizer.width 16 --tokenizer.encoder-depth 1 --tokenizer.decoder-depth 1 --tokenizer.recipe.steps 4
    --prior.width 16 --prior.depth 1 --prior.heads 2 --prior.context 1 --prior.recipe.steps 4 --prior.window 2
    --features.width 8 --features.size 16 --features.recipe.steps 2 --features.batch 2
    --sampling.clips 2 --sampling.frames 24 --sampling.measured 4"""
TINY = OPTIONS.split()


def moving(frames: int, height: int = 32, width: int = 48, colour: bool = True) -> torch.Tensor:
    """A red square that goes back and forth over a blue picture, (C, T, H, W); a grey one without ``colour``."""
    video = torch.full((3, frames, height, width), -0.6)
    video[2] = 0.5
    for k in range(frames):
        x = abs(2 * k % (2 * (width - 12)) - (width - 12))
        video[:, k, 8:20, x : x + 12] = torch.tensor([0.8, -0.7, -0.7])[:, None, None]
    return video if colour else video[:1]
