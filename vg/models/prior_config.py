"""The shape of a prior: all numbers that decide its weights' shapes and what they mean."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PriorConfig:
    """Shape of a ``Prior``.

    Attributes:
        levels: of the tokenizer; digit i of a token is one of ``levels[i]``.
        grid: (h, w), tokens in a latent frame; with ``coordinates`` of the clips that it makes unless told otherwise
            (``Prior.at``).
        width: D of the transformer, a multiple of ``heads``.
        depth: layers.
        heads: N, even for two-scale slopes.
        context: blocks of the network over the latent frames before; 0 leaves it out.
        normed: whether what blocks say of the latent frames before, of a goal and of a condition is normalised before
            it is added to the embeddings of tokens. What blocks add up to grows a hundredfold in training, and would
            drown them: the next LayerNorm sees one sum. Older weights are not, and hardly saw their own frame.
        still: of single images: there is one latent frame, and nothing before it to be read.
        positions: ``two_scale`` ALiBi (half of the heads fade with distance along the sequence, half with time),
            ``plain`` ALiBi, or ``learned`` (an embedding of each position, no ALiBi).
        alibi_multiplier: of ``two_scale``, by how much faster than ``1 / (h * w)`` of the first half the second half of
            the heads fades with time (``two_scale_slopes``).
        reach: latent frames that attention looks back at most, the current one included; None for all.
        longest: positions that ``learned`` has, in latent frames.
        places: ``table`` (a vector for each place of the one grid) or ``coordinates`` (any grid, ``Coordinates``).
        directions: whether it is told if a clip runs forwards or backwards.
        goals: latent frames that a goal may lie ahead (``Goal``); 0 for a prior that takes none.
        num_labels: how many labels there are (shots of a film, classes of images); 0 for none.
        layouts: whether a label has a layout: the mean code of each place (``Prior.learn_layouts``). Without it a label
            is one vector, the same at every place.
        condition_levels: of the tokenizer whose tokens condition these (the level above); empty for no conditioning.
        condition_grid: (h', w') of those tokens; ``grid`` is a multiple of it.
        condition_depth: blocks of the network over those tokens.
        dropout: share of the numbers that each layer adds that are left out in training (Srivastava et al., 2014).
    """

    levels: tuple[int, ...] = (7, 5, 5, 5, 5)
    grid: tuple[int, int] = (8, 8)
    width: int = 256
    depth: int = 6
    heads: int = 4
    context: int = 2
    normed: bool = True
    still: bool = False
    positions: str = "two_scale"
    alibi_multiplier: float = 4.0
    reach: int | None = None
    longest: int = 32
    places: str = "table"
    directions: bool = False
    goals: int = 0
    num_labels: int = 0
    layouts: bool = False
    condition_levels: tuple[int, ...] = ()
    condition_grid: tuple[int, int] = (4, 4)
    condition_depth: int = 2
    dropout: float = 0.0
