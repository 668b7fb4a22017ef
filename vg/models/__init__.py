"""The networks. They know nothing of data: tensors in, tensors out."""

from vg.models.alibi import alibi_bias, alibi_slopes, two_scale_slopes
from vg.models.attention_backends import attention, available_backends
from vg.models.features import ClipFeatures, FeaturesConfig
from vg.models.prior_config import PriorConfig
from vg.models.quantizers import FSQ, FSQ_LEVELS, VQ, QuantizerConfig
from vg.models.tokenizer import Quantized, Tokenizer
from vg.models.transformer import Prior
from vg.models.tubelet import TubeletConfig, TubeletTokenizer
from vg.models.two_level import TwoLevelConfig, TwoLevelPrior
from vg.models.vae import VAE, VAEConfig
from vg.models.video import VideoAutoencoder, VideoConfig
from vg.models.vqvae import VQVAE, VQVAE2, VQVAE2Config, VQVAEConfig

__all__ = [
    "FSQ",
    "FSQ_LEVELS",
    "VAE",
    "VQ",
    "VQVAE",
    "VQVAE2",
    "ClipFeatures",
    "FeaturesConfig",
    "Prior",
    "PriorConfig",
    "Quantized",
    "QuantizerConfig",
    "Tokenizer",
    "TubeletConfig",
    "TubeletTokenizer",
    "TwoLevelConfig",
    "TwoLevelPrior",
    "VAEConfig",
    "VQVAE2Config",
    "VQVAEConfig",
    "VideoAutoencoder",
    "VideoConfig",
    "alibi_bias",
    "alibi_slopes",
    "attention",
    "available_backends",
    "two_scale_slopes",
]
