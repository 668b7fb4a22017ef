"""Generation: new tokens from a prior, decoded into new video or new images.

``generate`` and ``sample_images`` are what to call; ``join``, ``loop``, ``before`` and ``fill`` are other tasks of the
same prior. ``one_by_one`` is the loop to read; ``parallel`` samples the very same tokens, several a pass.
``filter_logits`` is top-k and top-p; ``guidance`` combines the logits of a prior with and without its past, its label
or its goal.
"""

from vg.sampling.filters import filter_logits
from vg.sampling.guidance import Branch, branches
from vg.sampling.images import sample_images
from vg.sampling.options import SAMPLING, Options
from vg.sampling.parallel import Sampler
from vg.sampling.plain_loop import one_by_one
from vg.sampling.stream import Stream
from vg.sampling.tasks import before, fill, fill_tokens, join, loop
from vg.sampling.video import generate, generate_each, generate_tokens

__all__ = [
    "SAMPLING",
    "Branch",
    "Options",
    "Sampler",
    "Stream",
    "before",
    "branches",
    "fill",
    "fill_tokens",
    "filter_logits",
    "generate",
    "generate_each",
    "generate_tokens",
    "join",
    "loop",
    "one_by_one",
    "sample_images",
]
