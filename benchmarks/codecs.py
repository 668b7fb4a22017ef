"""The tubelet tokenizers beside H.264, VP9 and AV1, on clips of 16 frames of the test shots, by payload bits.

Prints what each draws at the tokenizer's raw bits, and what the codecs draw at the bits that the prior needs for the
same tokens: as encoded, searched for the picture alone, and searched for the best bargain of picture and bits. A
codec's number is read off between its two nearest settings, straight over the logarithm of its bits. Each clip's mean
frame, a strong baseline where backgrounds stand still, is no code; coded as one picture it has bits as well.

    python benchmarks/codecs.py 128
"""

import sys

import numpy as np
import torch
from tqdm.auto import tqdm

from vg.data import film, open_store
from vg.evaluation import mean_frame, psnr, ssim
from vg.evaluation.codecs import CODECS, available, code_clips
from vg.evaluation.pair import open_pair
from vg.evaluation.tokenizer import held_out
from vg.latents.search import search_codes

POINTS = 8  # settings of each codec
PRICES = {64: (1.5,), 128: (0.5, 0.7)}  # of 1,000 bits, in decibels: about what they are worth to a codec there


def line_of(codec: str, truth: torch.Tensor, still: bool = False) -> list[tuple[float, float, float]]:
    """(payload bits, PSNR, SSIM) at settings from good to bad; with ``still`` of each clip's mean frame alone."""
    clips = mean_frame(truth)[:, :, :1] if still else truth
    best, worst = CODECS[codec].qualities
    found = []
    for quality in tqdm(np.linspace(best + (worst - best) / 3, worst, POINTS).round().astype(int), desc=codec):
        made, payload, _ = code_clips(clips, codec, int(quality))
        made = made.expand_as(truth)
        found.append((float(payload.float().mean()), float(psnr(made, truth).mean()), float(ssim(made, truth).mean())))
    return sorted(found)


def read_off(line: list[tuple[float, float, float]], bits: float) -> list[float]:
    """PSNR and SSIM at so many bits; NaN where the line does not reach."""
    at, *values = (np.array(column) for column in zip(*line))
    return [float(np.interp(np.log(bits), np.log(at), v, left=np.nan, right=np.nan)) for v in values]


def main(size: int) -> None:
    pair = open_pair(f"prior-{size}").at((size, size))
    tokenizer, prior = pair.tokenizer, pair.prior
    truth = held_out(open_store(film(), size=size))
    ways = {"as encoded": {"steps": 0}, "searched for": {}}
    ways |= {f"{price} dB for 1,000 bits": {"prior": prior, "price": price} for price in PRICES[size]}
    parts = truth.split(4)
    found = {
        name: torch.cat([search_codes(tokenizer, part, progress=False, **how) for part in tqdm(parts, desc=name)])
        for name, how in ways.items()
    }
    rows = {"raw bits": tokenizer.raw_bits(tuple(truth.shape[2:]))}
    with torch.no_grad():
        for name, indices in found.items():
            costs = torch.cat([prior.nll_bits(part) for part in indices.split(4)])
            rows[f"the prior's, {name}"] = float(costs.flatten(1).sum(1).mean())
    lines = {codec: line_of(codec, truth) for codec in available()}
    lines |= {f"mean frame in {codec}": line_of(codec, truth, still=True) for codec in available()[-1:]}
    print(f"{len(truth)} clips of 16 frames at {size}x{size}; PSNR in dB and SSIM")
    drawn = {"each clip's mean frame": mean_frame(truth)}
    for name, indices in found.items():
        drawn[f"tubelet-fsq-{size}, {name}"] = torch.cat([tokenizer.decode(part) for part in indices.split(4)])
    for name, made in drawn.items():
        print(f"  {name:40} {float(psnr(made, truth).mean()):6.2f} {float(ssim(made, truth).mean()):.3f}")
    for name, bits in rows.items():
        print(f"  at {bits:,.0f} bits a clip ({name})")
        for codec, line in lines.items():
            decibels, alike = read_off(line, bits)
            print(f"    {codec:22} {decibels:6.2f} {alike:.3f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 128)
