"""Two priors for the two levels of a VQ-VAE-2: the top's, and the bottom's, which is conditioned on the top."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vg.models.frozen import Freezable
from vg.models.prior_config import PriorConfig
from vg.models.transformer import Prior


@dataclass(frozen=True)
class TwoLevelConfig:
    """Shape of a ``TwoLevelPrior``.

    Attributes:
        top_levels: of the top tokens, ``(K,)`` for a VQ.
        top_grid: (h, w) of the top tokens.
        levels: of the bottom tokens.
        grid: (h, w) of the bottom tokens, a multiple of ``top_grid``.
        width, depth, heads: of both transformers, as in ``PriorConfig``.
        condition_depth: blocks of the network that reads the top tokens for the bottom prior.
        num_labels: classes; 0 for none.
        normed: as in ``PriorConfig``.
    """

    top_levels: tuple[int, ...] = (4096,)
    top_grid: tuple[int, int] = (4, 4)
    levels: tuple[int, ...] = (64,)
    grid: tuple[int, int] = (8, 8)
    width: int = 192
    depth: int = 6
    heads: int = 4
    condition_depth: int = 2
    num_labels: int = 10
    normed: bool = True


class TwoLevelPrior(Freezable):
    """p(top, bottom) = p(top) p(bottom | top), as in VQ-VAE-2 (Razavi et al., 2019, section 3.2), but transformers.

    Both parts are ordinary ``Prior`` models of images, that is of one latent frame: ``top`` and ``bottom``.
    """

    def __init__(self, config: TwoLevelConfig = TwoLevelConfig()):
        super().__init__()
        self.config = config
        c = config
        shared: dict[str, Any] = dict(
            width=c.width,
            depth=c.depth,
            heads=c.heads,
            context=0,
            still=True,
            num_labels=c.num_labels,
            normed=c.normed,
        )
        above: dict[str, Any] = dict(
            condition_levels=c.top_levels, condition_grid=c.top_grid, condition_depth=c.condition_depth
        )
        self.top = Prior(PriorConfig(levels=config.top_levels, grid=config.top_grid, **shared))
        self.bottom = Prior(PriorConfig(levels=config.levels, grid=config.grid, **shared, **above))
        self.inner = tuple(f"{part}.{name}" for part in ("top", "bottom") for name in getattr(self, part).inner)

    def nll_bits(
        self,
        top: Tensor,
        bottom: Tensor,
        label: Tensor | None = None,
        given: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """What every token costs, in bits.

        Args:
            top: (B, h', w') int64, as ``VQVAE2.encode`` gives them.
            bottom: (B, h, w) int64.
            label: (B,) int64, the images' classes, -1 where unknown; default all unknown.
            given: (top, bottom) that the networks are shown, where these are not to be the true ones.

        Returns:
            (B, h', w') and (B, h, w) float, bits.
        """
        shown_top, shown = (top, bottom) if given is None else given
        above = self.top.nll_bits(top[:, None], label, shown_top[:, None])
        below = self.bottom.nll_bits(bottom[:, None], label, shown[:, None], condition=shown_top[:, None])
        return above[:, 0], below[:, 0]
