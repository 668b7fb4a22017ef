"""Explorers that need no kernel: a page that carries its data and a little script.

    variations                      any pictures, computed for every setting of some controls
    film_slice                      a film cut along a row
    codebook                        points, codes to drag, cells, straight-through gradients
    digits, bitrates                what a token's digits draw; what bits buy beside a codec
    rounding                        FSQ: levels, the width of z, digit and code
    slopes, attention_maps          how far a head sees; what each head looks at
    probabilities                   temperature, top-k, top-p and history over a token's logits

Each returns an `Interactive`, at most 150 kB, which a notebook, an exported page and the course's site show alike. They
take numbers and pictures, and know no model.
"""

from vg.show.interactive.codes import bitrates, digits
from vg.show.interactive.diagrams import codebook, probabilities, rounding, slopes
from vg.show.interactive.page import Interactive
from vg.show.interactive.pictures import attention_maps, film_slice, variations

__all__ = [
    "Interactive",
    "attention_maps",
    "bitrates",
    "codebook",
    "digits",
    "film_slice",
    "probabilities",
    "rounding",
    "slopes",
    "variations",
]
