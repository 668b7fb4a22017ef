"""Make the README's pictures from the shipped weights: ``python assets/pictures.py``, with the film at hand.

``python assets/pictures.py images reconstructed`` makes some of them alone; ``images`` takes no film.

Only what the models made is written: reconstructions, and clips whose beginnings the tokenizer decoded. Seeds and shots
are fixed beforehand; nothing is chosen.
"""

import sys
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from vg import checkpoints
from vg.data import Clips, film, open_stores, split_shots, to_uint8
from vg.evaluation.pair import open_pair
from vg.evaluation.reels import some_labels
from vg.sampling import generate, sample_images
from vg.sampling.options import GUIDANCE

HERE = Path(__file__).resolve().parent
PROMPT, FRAMES, LONG, FPS = 16, 48, 192, 12
TOKENIZERS = "video-vqvae-64", "video-fsqvae-64", "tubelet-fsq-64"


def tiled(clips: Tensor, columns: int) -> Tensor:
    """(B, C, T, H, W) -> (C, T, rows * H, columns * W), with thin lines between the clips."""
    clips = torch.nn.functional.pad(clips, (0, 1, 0, 1), value=1.0)
    return torch.cat([torch.cat(list(row), dim=-1) for row in clips.split(columns)], dim=-2)


def marked(clips: Tensor, given: int, edge: int = 3) -> Tensor:
    """(B, C, T, H, W) with a white frame around the first ``given`` frames, and a black one around the others."""
    ground = torch.nn.functional.pad(clips, (edge,) * 4, value=-1.0)
    ground[:, :, :given] = torch.nn.functional.pad(clips[:, :, :given], (edge,) * 4, value=1.0)
    return ground


def write(name: str, clips: Tensor, columns: int = 4) -> None:
    """Clips side by side as an animated WebP: half as large as a GIF, with all its greys."""
    pixels = to_uint8(tiled(clips, columns))[:, 0].numpy()
    first, *others = map(Image.fromarray, pixels)
    path = HERE / f"{name}.webp"
    first.save(path, save_all=True, append_images=others, duration=1000 / FPS, loop=0, quality=60, method=6)
    print(f"{path.name}: {tuple(clips.shape)}, {path.stat().st_size:,} bytes")


def prompts(store, shots, count: int, frames: int = PROMPT) -> Tensor:
    """Clips from the middles of the shots that are long enough, spread over the film."""
    long = [(start, stop) for start, stop in shots if stop - start >= frames + 32]
    picked = [long[i * len(long) // count] for i in range(count)] if len(long) >= count else long
    return torch.cat([store.clip(m, m + frames) for m in ((a + b - frames - 32) // 2 for a, b in picked)])


def images() -> None:
    """Two images of each class."""
    autoencoder, prior = checkpoints.load("vqvae2-cifar10"), checkpoints.load("prior-cifar10")
    classes = list(range(prior.config.num_labels))
    made = sample_images(prior, autoencoder, 2 * len(classes), 0, label=2 * classes, temperature=0.9)
    pixels = to_uint8(tiled(made[:, :, None], columns=len(classes)))[0].permute(1, 2, 0).numpy()
    size = (2 * pixels.shape[1], 2 * pixels.shape[0])
    Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST).save(HERE / "images.png", optimize=True)


def reconstructed(store, large_store, val) -> Tensor:
    """Two validation clips, each drawn by four tokenizers: (8, C, T, 128, 128), those of 64 pixels twice as large."""
    held = Clips(store, val, 24, stride=8)
    starts = held.starts[torch.linspace(0, len(held) - 1, 4).long()[1:3]].tolist()
    made = []
    for start in starts:
        small, large = (each.clip(start, start + 24) for each in (store, large_store))
        for tokenizer in map(checkpoints.load, TOKENIZERS):
            drawn = tokenizer.decode(tokenizer.encode(small))
            made.append(drawn.repeat_interleave(2, -1).repeat_interleave(2, -2))
        tokenizer = checkpoints.load("tubelet-fsq-128")
        made.append(tokenizer.decode(tokenizer.encode(large)))
    return torch.cat(made)


def clips(names: list[str]) -> None:
    pair = open_pair("prior-128")
    tokenizer, prior, how = pair.tokenizer, pair.prior, {"seed": 0, **pair.options}
    window = checkpoints.card("prior-128").facts["window_in_latent_frames"]
    store, square, small = open_stores(film(), [{"size": (128, 152)}, {"size": 128}, {"size": 64}])
    split = split_shots(store.shots)
    train, val = split.train, split.held_out
    story = train[1:-1]  # without the title and the end card, which stand still
    some = torch.cat([prompts(store, val, 2), prompts(store, story, 2)])

    def from_nothing() -> Tensor:
        label = some_labels(prior, 4, 0)
        return generate(prior, tokenizer, frames=FRAMES, batch=4, label=label, guidance=GUIDANCE, **how)

    making = {
        "reconstructed": lambda: reconstructed(small, square, val),
        "from-nothing": from_nothing,
        "continued": lambda: marked(generate(prior, tokenizer, some, FRAMES, **how), PROMPT),
        "long": lambda: marked(generate(prior, tokenizer, some[:1], frames=LONG, window=window, **how), PROMPT),
    }
    for name in names:
        write(name, making[name]())


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["images", "reconstructed", "from-nothing", "continued", "long"]
    if "images" in wanted:
        images()
    if others := [name for name in wanted if name != "images"]:
        clips(others)
