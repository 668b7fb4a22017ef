"""The tubelet FSQ-VAE: a clip as a grid of spacetime patches, one token each."""

import math
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn as nn
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from vg.models.blocks import MLP, Block, Past, pad_to
from vg.models.frozen import Freezable
from vg.models.quantizers import FSQ, exact
from vg.models.tokenizer import Quantized

PIECE = 2**14  # patches that are encoded or decoded at once, where there are no gradients: 64 frames of 16x16


@dataclass(frozen=True)
class TubeletConfig:
    """Shape of a ``TubeletTokenizer``.

    Attributes:
        tubelet: frames, height and width of one spacetime patch (ViViT's "tubelet").
        levels: FSQ levels of a patch.
        group: patches in time, down and across that share one token, whose digits are theirs one after another. The
            networks work as finely as before; a transformer has fewer tokens to read, each with more digits.
        channels: colours of a pixel, 1 (grey) or 3.
        width: D, features of a token inside the networks.
        encoder_depth: blocks before the quantizer.
        decoder_depth: blocks after it; drawing is harder than describing, so more.
        time_kernel: latent frames that the encoder's last block and the decoder's first one see, their own and earlier
            ones; the other blocks see their own alone. Clips of two latent frames then teach all that a stream needs.
        lookahead: the decoder also sees the codes of the latent frame to come, where there is one: what moves is drawn
            on its way there, instead of jumping at the border. The encoder does not, so tokens stay causal.
        detail_levels: of further digits that only the busiest patches have; all odd, so that there is a middle.
        detail_share: the share of a latent frame's patches that are the busiest, 0 to 1.
    """

    tubelet: tuple[int, int, int] = (8, 4, 4)
    levels: tuple[int, ...] = (8, 6, 5)
    group: tuple[int, int, int] = (1, 1, 1)
    channels: int = 1
    width: int = 192
    encoder_depth: int = 2
    decoder_depth: int = 4
    time_kernel: int = 2
    lookahead: bool = False
    detail_levels: tuple[int, ...] = ()
    detail_share: float = 0.0


class TubeletTokenizer(Freezable):
    """Tubelet FSQ-VAE: Linear tubelet embedding, causal residual blocks, FSQ, blocks, Linear back.

    Tubelets after ViViT (Arnab et al., 2021, arXiv:2103.15691, section 3.2), quantizer after FSQ
    (Mentzer et al., 2023). Rearrange and Linear is a convolution whose stride is its kernel.
    Causal in time: a token depends on its own frames and earlier ones, a frame on its own
    tubelet's token and earlier ones; with ``lookahead`` also on the next latent frame's.

    A wall needs fewer bits than a running figure. So the patches whose pixels vary most may have more digits; those of
    the others stay in the middle, which is 0. Which patches these are is an importance map (Li et al., 2018,
    arXiv:1703.10553; Mentzer et al., 2018, arXiv:1801.04260, section 3.2), computed from the pixels instead of learned.

    Attributes:
        tubelet: frames, height and width of one token: a patch's, times ``group``.
        levels: a token's; it is one of ``prod(levels)`` codes.
        patch, patch_levels: the same of one patch. They differ only where patches are grouped.

    Raises:
        ValueError: if a level of the details is even, or if there are details and no share, or the other way round.

    Example:
        >>> tokenizer = TubeletTokenizer(TubeletConfig())
        >>> tokenizer.encode(torch.zeros(1, 1, 16, 64, 64)).shape
        torch.Size([1, 2, 16, 16])
    """

    inner = ("encoder", "decoder")

    def __init__(self, config: TubeletConfig = TubeletConfig()):
        super().__init__()
        self.config = config
        self.patch = cast(tuple[int, int, int], tuple(config.tubelet))
        self.patch_levels = (*config.levels, *config.detail_levels)
        share_is_right = 0 < config.detail_share <= 1 if config.detail_levels else config.detail_share == 0
        if not share_is_right or any(n % 2 == 0 for n in config.detail_levels):
            raise ValueError(
                f"TubeletConfig: detail_levels is {list(config.detail_levels)} and detail_share {config.detail_share}; "
                "expected odd levels and a share above 0 and up to 1, or neither."
            )
        t, h, w = (side * many for side, many in zip(self.patch, config.group))
        self.tubelet, self.levels = (t, h, w), self.patch_levels * math.prod(config.group)
        d, pixels = config.width, config.channels * math.prod(self.patch)
        self.quantizer = FSQ(self.levels)
        self.embed = nn.Linear(pixels, d)
        last = config.encoder_depth - 1
        self.encoder = nn.ModuleList(Block(d, config.time_kernel if k == last else 1) for k in range(last + 1))
        self.to_code = nn.Sequential(nn.LayerNorm(d), *MLP(d, d, len(self.patch_levels)))
        self.from_code = MLP(len(self.patch_levels) * (1 + config.lookahead), d, d)
        self.decoder = nn.ModuleList(Block(d, 1 if k else config.time_kernel) for k in range(config.decoder_depth))
        self.to_pixels = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, pixels))
        self.to(memory_format=torch.channels_last_3d)

    def forward(self, video: Tensor) -> tuple[Tensor, Quantized[Tensor]]:
        """Encode and decode: ``(B, C, T, H, W)`` -> reconstruction of that shape, and ``quantize`` of the video."""
        quantized = self.quantize(video)
        return self.reconstruct(quantized.codes, tuple(video.shape[2:])), quantized

    @torch.no_grad()
    def encode(self, video: Tensor, past: Past | None = None) -> Tensor:
        """Video ``(B, C, T, H, W)`` in [-1, 1] -> indices ``(B, t, h, w)`` int64.

        A size that the tubelet does not divide is padded by repeating the last frame, row or column. A long video is
        worked through in pieces, so that it takes little more memory than its own.

        Args:
            video: the clip.
            past: an empty dict to begin a stream with, the same dict for each further piece. All pieces
                but the last must be whole tubelets long.
        """
        self._check(video)
        past = {} if past is None else past
        patches = video[:, 0, 0].numel() / math.prod(self.patch[1:]) * self.config.group[0]
        pieces = video.split(_at_once(patches) * self.tubelet[0], dim=2)
        return torch.cat([self.quantize(piece, past).indices for piece in pieces], dim=1)

    @torch.no_grad()
    def decode(
        self,
        indices: Tensor,
        size: tuple[int, int, int] | None = None,
        past: Past | None = None,
        more: bool = False,
    ) -> Tensor:
        """Indices ``(B, t, h, w)`` -> video ``(B, C, T, H, W)`` in [-1, 1].

        Args:
            indices: int64 in [0, prod(levels)).
            size: (T, H, W) to crop to, where the encoder had padded; default all whole tubelets.
            past: as in ``encode``. To show latent frames as they come, decode each with the same ``past``: they are
                those of the whole, but for a float's last bits.
            more: whether further pieces of the stream follow. With ``lookahead`` the last latent frame is then held
                back, in ``past``, until the next piece.

        Example:
            >>> tokenizer, past = TubeletTokenizer(), {}
            >>> [tokenizer.decode(torch.zeros(1, 1, 16, 16, dtype=torch.long), past=past).shape[2] for _ in range(3)]
            [8, 8, 8]
        """
        if indices.ndim != 4:
            raise ValueError(f"TubeletTokenizer: got tokens {tuple(indices.shape)}, expected (B, t, h, w)")
        past = {} if past is None else past
        pieces = indices.split(_at_once(indices[:, :1].numel() * math.prod(self.config.group)), dim=1)
        follow = [True] * (len(pieces) - 1) + [more]
        codes = map(self.quantizer.codes, pieces)
        video = torch.cat([self.reconstruct(c, None, past, f).clamp(-1, 1) for c, f in zip(codes, follow)], dim=2)
        return video if size is None else video[:, :, : size[0], : size[1], : size[2]]

    def quantize(self, video: Tensor, past: Past | None = None) -> Quantized[Tensor]:
        """``(B, C, T, H, W)`` -> codes ``(B, t, h, w, digits)`` with gradients, indices ``(B, t, h, w)``, no loss."""
        z = self.vectors(video, past)
        codes, indices = self.quantizer(z)
        return Quantized(codes, indices, self.quantizer.loss(z, codes, indices))

    def vectors(self, video: Tensor, past: Past | None = None) -> Tensor:
        """What FSQ is given to round: ``(B, C, T, H, W)`` -> ``(B, t, h, w, digits)``, any real values."""
        x = self.embed(self._patches(video))
        for block in self.encoder:
            x = block(x, past)
        z = self._tokens(self.to_code(x))
        return z * self.used(video) if self.config.detail_levels else z

    def used(self, video: Tensor) -> Tensor:
        """Which digits of its tokens a clip may use: ``(B, C, T, H, W)`` -> ``(B, t, h, w, digits)`` bool.

        All of them, but for the details of patches that are not among the busiest of their latent frame: those whose
        pixels have the largest variance. Always as many, so that every latent frame costs as many bits.
        """
        spread = self._patches(video).float().var(-1)  # (B, t, h, w), by patch
        flat = spread.flatten(2)
        busiest = flat.topk(self._busy(flat.shape[-1]), dim=-1).indices
        details = torch.zeros_like(flat, dtype=torch.bool).scatter(-1, busiest, True).view(spread.shape)
        everywhere = torch.ones_like(details)
        by_digit = [everywhere] * len(self.config.levels) + [details] * len(self.config.detail_levels)
        return self._tokens(torch.stack(by_digit, dim=-1))

    def raw_bits(self, size: tuple[int, int, int]) -> float:
        """Bits of the tokens of a clip of ``size`` (T, H, W) in pixels, without a prior.

        Where some patches have more digits, the choice of these patches is counted too: the logarithm of the number of
        ways to choose so many.
        """
        t, h, w = (-(-n // s) * many for n, s, many in zip(size, self.tubelet, self.config.group))
        patches = h * w
        busy = self._busy(patches)
        a_patch, details = (math.log2(math.prod(n)) for n in (self.config.levels, self.config.detail_levels))
        return t * (patches * a_patch + busy * details + math.log2(math.comb(patches, busy)))

    def _busy(self, patches: int) -> int:
        return round(self.config.detail_share * patches)

    def _patches(self, video: Tensor) -> Tensor:
        """``(B, C, T, H, W)``, padded to whole tubelets -> ``(B, t, h, w, C * patch)``, a row of pixels each."""
        self._check(video)
        t, h, w = self.patch
        return rearrange(pad_to(video, self.tubelet), "b c (T t) (H h) (W w) -> b T H W (c t h w)", t=t, h=h, w=w)

    def _check(self, video: Tensor) -> None:
        if video.ndim != 5 or video.shape[1] != self.config.channels or 0 in video.shape:
            raise ValueError(
                f"TubeletTokenizer: got {tuple(video.shape)}, expected (B, {self.config.channels}, T, H, W)"
            )

    def _tokens(self, x: Tensor) -> Tensor:
        """Numbers of each patch ``(B, t, h, w, d)`` -> of each token: those of its patches one after another."""
        t, h, w = self.config.group
        return rearrange(x, "b (T t) (H h) (W w) d -> b T H W (t h w d)", t=t, h=h, w=w)

    def _by_patch(self, x: Tensor) -> Tensor:
        """The other way round."""
        t, h, w = self.config.group
        return rearrange(x, "b T H W (t h w d) -> b (T t) (H h) (W w) d", t=t, h=h, w=w)

    def reconstruct(
        self,
        codes: Tensor,
        size: tuple[int, int, int] | None = None,
        past: Past | None = None,
        more: bool = False,
    ) -> Tensor:
        """Codes ``(B, t, h, w, digits)`` -> video ``(B, C, T, H, W)``, not clamped, with gradients; see ``decode``."""
        t, h, w = self.patch
        codes = self._by_patch(codes)
        x = self.from_code(self._with_next(codes, past, more) if self.config.lookahead else codes)
        for block in self.decoder if x.shape[1] else ():
            x = block(x, past)
        x = self.to_pixels(x)
        x = rearrange(x, "b T H W (c t h w) -> b c (T t) (H h) (W w)", t=t, h=h, w=w)
        return x if size is None else x[:, :, : size[0], : size[1], : size[2]]

    def _with_next(self, codes: Tensor, past: Past | None, more: bool) -> Tensor:
        """Each patch's codes and those of the latent frame after it, 0 after the last: ``(B, t, h, w, 2 * d)``.

        If there is more to come the last one is held back, in ``past``.
        """
        past = {} if past is None else past
        if self.from_code in past:
            codes = torch.cat([past.pop(self.from_code), codes], dim=1)
        if more:
            past[self.from_code] = codes[:, -1:]
            return torch.cat([codes[:, :-1], codes[:, 1:]], dim=-1)
        return torch.cat([codes, F.pad(codes[:, 1:], (0, 0, 0, 0, 0, 0, 0, 1))], dim=-1)

    def patch_indices(self, indices: Tensor) -> Tensor:
        """Tokens ``(B, t, h, w)`` -> what each patch says: as many times ``group``, in [0, prod(patch_levels)).

        The same where patches are not grouped. Tokens of four patches are too many to be counted; patches are not.
        """
        size = math.prod(self.patch_levels)
        whole = exact(indices)
        powers = size ** torch.arange(math.prod(self.config.group), device=whole.device)
        return self._by_patch(whole[..., None] // powers % size)[..., 0].to(indices.device)


def _at_once(patches: float) -> int:
    """How many latent frames of so many patches (of all clips together) are encoded or decoded at once."""
    return max(1, int(PIECE // max(1, patches)))
