"""How good is it: measures, the baselines beside them, and real codecs (``vg.evaluation.codecs``)."""

from vg.evaluation.baselines import copy_bits, mean_frame, nearest_clip, pca_images, unigram_bits
from vg.evaluation.frechet import frechet_distance
from vg.evaluation.metrics import perplexity, psnr, ssim, stability, usage

__all__ = [
    "copy_bits",
    "frechet_distance",
    "mean_frame",
    "nearest_clip",
    "pca_images",
    "perplexity",
    "psnr",
    "ssim",
    "stability",
    "unigram_bits",
    "usage",
]
