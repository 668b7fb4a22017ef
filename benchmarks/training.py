"""Training: the priors beside the rate of plain matrix products here, the tokenizer beside VideoGPT's VQ-VAE.

Prints what share of the rate of plain matrix products a training step reaches, optimizer and averaged weights
included, and how many times the peer's clips a second the tokenizer trains on; medians of turns that alternate.
"""

import math
import statistics
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vg import checkpoints
from vg.experiments.batches import pack_batch
from vg.experiments.config import PRIOR_RECIPE, TOKENIZER_RECIPE, PriorPart
from vg.experiments.losses import prior_loss, tubelet_loss
from vg.models import Prior, TubeletConfig, TubeletTokenizer
from vg.models.quantizers import VQ
from vg.profiles import device, mixed_precision
from vg.training import fit
from vg.training.muon import TOGETHER

TURNS, STEPS = 5, 3
BATCH, WINDOW, LABEL_SHARE = PriorPart().batch, PriorPart().window, PriorPart().label_share
CLIPS = (4, 1, 16, 64, 64)  # what the tokenizer of the film at 64 pixels is trained on


def seconds(function) -> float:
    begin = time.perf_counter()
    function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begin


# --- VideoGPT's VQ-VAE (Yan et al., 2021, arXiv:2104.10157), as its repository has it by default, for 4x8x8 -----------


class SameConv(nn.Conv3d):
    """Padded so that the output has ``1 / stride`` of the input's size."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, same_padding(self.kernel_size, self.stride)))


class SameTransposed(nn.ConvTranspose3d):
    """The way back: an output of ``stride`` times the size."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: tuple[int, ...]):
        super().__init__(inputs, outputs, kernel, stride, padding=kernel - 1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, same_padding(self.kernel_size, self.stride)))


def same_padding(kernel: tuple[int, ...], stride: tuple[int, ...]) -> list[int]:
    missing = [k - s for k, s in zip(kernel, stride)][::-1]
    return [part for m in missing for part in (m // 2 + m % 2, m // 2)]


class AxialAttention(nn.Module):
    """Attention along each of the three axes, added up: ``(B, D, t, h, w)`` in and out, two heads."""

    def __init__(self, d: int, heads: int = 2):
        super().__init__()
        self.heads = heads
        self.qkv = nn.ModuleList(nn.Linear(d, 3 * d, bias=False) for _ in range(3))
        self.out = nn.ModuleList(nn.Linear(d, d) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 4, 1)
        return sum(self.along(axis, x) for axis in range(3)).permute(0, 4, 1, 2, 3)

    def along(self, axis: int, x: Tensor) -> Tensor:
        x = x.transpose(axis + 1, 3)  # (B, ., ., length, D)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(3, 4) for part in self.qkv[axis](x).chunk(3, -1))
        y = F.scaled_dot_product_attention(q, k, v).transpose(3, 4).flatten(-2)
        return self.out[axis](y).transpose(axis + 1, 3)


def residual_stack(d: int, depth: int) -> nn.Sequential:
    def block() -> nn.Module:
        return Residual(
            nn.BatchNorm3d(d), nn.ReLU(), SameConv(d, d // 2, 3, bias=False),
            nn.BatchNorm3d(d // 2), nn.ReLU(), SameConv(d // 2, d, 1, bias=False),
            nn.BatchNorm3d(d), nn.ReLU(), AxialAttention(d),
        )  # fmt: skip

    return nn.Sequential(*(block() for _ in range(depth)), nn.BatchNorm3d(d), nn.ReLU())


class Residual(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


class VideoGPT(nn.Module):
    """240 features, four residual blocks on either side, 2,048 codes of 256 numbers, one for 4x8x8 pixels."""

    def __init__(self, channels: int = 1, d: int = 240, depth: int = 4, code: int = 256, codes: int = 2048):
        super().__init__()
        strides = [(2, 2, 2), (2, 2, 2), (1, 2, 2)]
        down, up = [], []
        for i, stride in enumerate(strides):
            down += [SameConv(d if i else channels, d, 4, stride), nn.ReLU()]
            up += [nn.ReLU(), SameTransposed(d, d if i < 2 else channels, 4, stride)]
        self.encoder = nn.Sequential(*down, SameConv(d, d, 3), residual_stack(d, depth), SameConv(d, code, 1))
        self.quantizer = VQ(codes, code)
        self.decoder = nn.Sequential(SameConv(code, d, 1), residual_stack(d, depth), *up[1:])

    def loss(self, video: Tensor) -> Tensor:
        z = self.encoder(video).permute(0, 2, 3, 4, 1)
        codes, indices = self.quantizer(z)
        made = self.decoder(codes.permute(0, 4, 1, 2, 3))
        return F.mse_loss(made, video) / 0.06 + self.quantizer.loss(z, codes, indices)


# --- what is measured ------------------------------------------------------------------------------------------------


def operations(prior: Prior) -> tuple[float, float]:
    """Floating-point operations that a training step cannot do without: of the model, and of Muon."""
    tokens, d = BATCH * WINDOW * prior.tokens_per_latent_frame, prior.config.width
    inner = [p for part in (prior.layers, prior.context) for p in part.parameters() if p.dim() > 1]
    head = [p for p in prior.head.logits.parameters() if p.dim() > 1]
    weights = sum(p.numel() for p in (*inner, *head))
    length = WINDOW * prior.tokens_per_latent_frame
    pairs = BATCH * length * (length + 1) / 2 * prior.config.depth  # of queries and keys that they may look at
    model = 3 * 2 * tokens * weights + 6 * 2 * pairs * d  # a weight and a pair: forward once, backward twice
    muon = 0.0
    for p in inner:
        short, long = sorted((p.shape[0], p[0].numel()))
        gram, squares = 2 * 2 * short**2 * long, 2 * short**3
        muon += sum(gram + (4 * n - 3) * squares for n in (TOGETHER, 5 - TOGETHER))
    return model, muon


def product_rate(tokens: int, d: int, where: torch.device) -> float:
    """Operations a second of the products that a layer is made of: forward, and both of the way back."""
    dtype = torch.bfloat16 if mixed_precision(where) else torch.float32
    x, y, w = (torch.randn(shape, dtype=dtype, device=where) for shape in ((tokens, d), (tokens, 4 * d), (d, 4 * d)))

    def products() -> None:
        for _ in range(8):
            _ = x @ w, y @ w.T, x.T @ y

    return 8 * 3 * 2 * x.numel() * 4 * d / seconds(products)


def measure_prior(name: str, where: torch.device) -> None:
    config = checkpoints.load(name).config
    prior = Prior(config).to(where)
    tokens, codes = WINDOW * prior.tokens_per_latent_frame, math.prod(prior.levels)

    def draw(generator: torch.Generator) -> Tensor:
        indices = torch.randint(codes, (BATCH, WINDOW, *prior.grid), generator=generator)
        return pack_batch(indices, torch.randint(config.num_labels, (BATCH,), generator=generator), backwards=0)

    loss, rates, steps = prior_loss(drop_label=1 - LABEL_SHARE), [], []
    for _ in range(TURNS + 1):
        rates.append(product_rate(BATCH * tokens, config.width, where))
        steps.append(fit(prior, loss, draw, PRIOR_RECIPE, stop_at=STEPS, progress=False).seconds / STEPS)
    rates, steps = rates[1:], steps[1:]  # the first warms up
    model, muon = operations(prior)
    with_muon, alone = (
        statistics.median(work / (step * rate) for step, rate in zip(steps, rates)) for work in (model + muon, model)
    )
    print(f"{name}: a training step reaches {with_muon:.0%} of the rate of plain products ({alone:.0%} if the products")
    print(
        f"  of the optimizer are not counted); {statistics.median(rates) / 1e9:,.0f} billion operations a second there"
    )


def measure_tokenizer(where: torch.device) -> None:
    tokenizer, peer = TubeletTokenizer(TubeletConfig()).to(where), VideoGPT(CLIPS[1]).to(where)
    adam = torch.optim.Adam(peer.parameters(), lr=3e-4)
    video = torch.rand(CLIPS, device=where) * 2 - 1

    def peer_step() -> None:
        adam.zero_grad()
        peer.loss(video).backward()
        adam.step()

    ratios = []
    for _ in range(TURNS):
        own = fit(tokenizer, tubelet_loss, lambda _: video, TOKENIZER_RECIPE, stop_at=2 * STEPS, progress=False).seconds
        ratios.append(seconds(peer_step) / (own / (2 * STEPS)))
    print(f"tokenizer: {statistics.median(ratios[1:]):.1f} times the clips a second that VideoGPT's VQ-VAE trains on")


def main() -> None:
    where = device()
    precision = "bfloat16" if mixed_precision(where) else "float32"
    print(f"{where}, {torch.get_num_threads()} threads, {precision}")
    for name in ("prior-64", "prior-128"):
        measure_prior(name, where)
    measure_tokenizer(where)


if __name__ == "__main__":
    main()
