"""Generation: new tokens from a prior, decoded into new video or new images.

``generate`` and ``sample_images`` are what to call. ``one_by_one`` is the loop to read; ``parallel`` draws the very
same tokens, several a pass. ``restrict`` filters logits; ``guidance`` combines what a prior says with and without its
past or its label.
"""

from vg.sampling.filters import restrict
from vg.sampling.guidance import Reading, readings
from vg.sampling.images import sample_images
from vg.sampling.one_by_one import one_by_one
from vg.sampling.options import SAMPLING, Options, knobs
from vg.sampling.parallel import Sampler
from vg.sampling.stream import Stream
from vg.sampling.video import generate, generate_each, generate_tokens

__all__ = [
    "SAMPLING",
    "Options",
    "Reading",
    "Sampler",
    "Stream",
    "generate",
    "generate_each",
    "generate_tokens",
    "knobs",
    "one_by_one",
    "readings",
    "restrict",
    "sample_images",
]
