"""The networks. They know nothing of data: tensors in, tensors out."""

from vg.models.attention import alibi_bias, alibi_slopes, attention, available_backends, two_scale_slopes
from vg.models.quantizers import FSQ, FSQ_LEVELS
from vg.models.transformer import Prior, PriorConfig
from vg.models.tubelet import TubeletConfig, TubeletTokenizer

__all__ = [
    "FSQ",
    "FSQ_LEVELS",
    "Prior",
    "PriorConfig",
    "TubeletConfig",
    "TubeletTokenizer",
    "alibi_bias",
    "alibi_slopes",
    "attention",
    "available_backends",
    "two_scale_slopes",
]
