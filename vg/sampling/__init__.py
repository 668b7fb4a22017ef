"""Generation: new tokens from a prior, decoded into new video or new images.

``generate`` and ``sample_images`` are what to call. ``one_by_one`` is the loop to read; ``parallel`` samples the very
same tokens, several a pass. ``filter_logits`` is top-k and top-p; ``guidance`` combines the logits of a prior with and
without its past or its label.
"""

from vg.sampling.filters import filter_logits
from vg.sampling.guidance import Branch, branches
from vg.sampling.images import sample_images
from vg.sampling.options import SAMPLING, Options, sampling_defaults
from vg.sampling.parallel import Sampler
from vg.sampling.plain_loop import one_by_one
from vg.sampling.stream import Stream
from vg.sampling.video import generate, generate_each, generate_tokens

__all__ = [
    "SAMPLING",
    "Branch",
    "Options",
    "Sampler",
    "Stream",
    "branches",
    "filter_logits",
    "generate",
    "generate_each",
    "generate_tokens",
    "one_by_one",
    "sample_images",
    "sampling_defaults",
]
