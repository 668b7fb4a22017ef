"""How good is it: measures, the baselines beside them, and real codecs (``vg.evaluation.codecs``)."""

from vg.evaluation.baselines import copy_bits, mean_frame, nearest_clip, pca_images, unigram_bits
from vg.evaluation.frechet import frechet_distance, frechet_error, unbiased_frechet
from vg.evaluation.metrics import perplexity, psnr, ssim, stability, step_correlation, steps, usage

__all__ = [
    "copy_bits",
    "frechet_distance",
    "frechet_error",
    "mean_frame",
    "nearest_clip",
    "pca_images",
    "perplexity",
    "psnr",
    "ssim",
    "stability",
    "step_correlation",
    "steps",
    "unbiased_frechet",
    "unigram_bits",
    "usage",
]
