"""Two priors for the two levels of a VQ-VAE-2: the top's, and the bottom's, which is guided by the top."""

from dataclasses import dataclass

from torch import Tensor

from vg.models.frozen import Freezable
from vg.models.transformer import Prior, PriorConfig


@dataclass(frozen=True)
class TwoLevelConfig:
    """Shape of a ``TwoLevelPrior``.

    Attributes:
        top_levels: of the top tokens, ``(K,)`` for a VQ.
        top_grid: (h, w) of the top tokens.
        levels: of the bottom tokens.
        grid: (h, w) of the bottom tokens, a multiple of ``top_grid``.
        width, depth, heads: of both transformers, as in ``PriorConfig``.
        guide_depth: blocks of the network that reads the top tokens for the bottom prior.
        scenes: classes; 0 for none.
    """

    top_levels: tuple[int, ...] = (4096,)
    top_grid: tuple[int, int] = (4, 4)
    levels: tuple[int, ...] = (64,)
    grid: tuple[int, int] = (8, 8)
    width: int = 192
    depth: int = 6
    heads: int = 4
    guide_depth: int = 2
    scenes: int = 10


class TwoLevelPrior(Freezable):
    """p(top, bottom) = p(top) p(bottom | top), as in VQ-VAE-2 (Razavi et al., 2019, section 3.2), but transformers.

    Both parts are ordinary ``Prior`` models of images, that is of one tubelet-frame: ``top`` and ``bottom``.
    """

    def __init__(self, config: TwoLevelConfig = TwoLevelConfig()):
        super().__init__()
        self.config = config
        shared = dict(width=config.width, depth=config.depth, heads=config.heads, context=0, scenes=config.scenes)
        guide = dict(guide_levels=config.top_levels, guide_grid=config.top_grid, guide_depth=config.guide_depth)
        self.top = Prior(PriorConfig(levels=config.top_levels, grid=config.top_grid, **shared))
        self.bottom = Prior(PriorConfig(levels=config.levels, grid=config.grid, **shared, **guide))
        self.inner = tuple(f"{part}.{name}" for part in ("top", "bottom") for name in getattr(self, part).inner)

    def bits(
        self,
        top: Tensor,
        bottom: Tensor,
        scene: Tensor | None = None,
        given: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """What every token costs, in bits.

        Args:
            top: (B, h', w') int64, as ``VQVAE2.encode`` gives them.
            bottom: (B, h, w) int64.
            scene: (B,) int64, the images' classes, -1 where unknown; default all unknown.
            given: (top, bottom) that the networks are shown, where these are not to be the true ones.

        Returns:
            (B, h', w') and (B, h, w) float, bits.
        """
        shown_top, shown = (top, bottom) if given is None else given
        above = self.top.bits(top[:, None], scene, shown_top[:, None])
        below = self.bottom.bits(bottom[:, None], scene, shown[:, None], guide=shown_top[:, None])
        return above[:, 0], below[:, 0]
