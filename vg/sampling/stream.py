"""Endless video, drawn and decoded a latent frame at a time."""

import time
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vg.models.blocks import Past
from vg.models.frozen import evaluating
from vg.models.transformer import Prior
from vg.models.tubelet import TubeletTokenizer
from vg.precision import autocast, full_precision
from vg.sampling.options import Options, check_levels, given_digits
from vg.sampling.parallel import Sampler
from vg.sampling.video import prompt_tokens
from vg.threads import one_thread


class Stream:
    """A video without an end: each ``next`` draws the next latent frame and decodes it.

    The first are those of the prompt, as the tokenizer sees it. All together are what ``generate`` gives for the same
    arguments and more frames, as long as ``change`` is not called.

    Args:
        prior, tokenizer: two that belong together.
        prompt: (C, T, H, W) or (1, C, T, H, W) in [-1, 1], or None to begin with nothing.
        seed, options: as in ``generate``; ``window`` is 6 latent frames if not given: memory and time stay bounded.

    Attributes:
        drawn: frames that were drawn, and ``seconds``: how long that took, decoding included.
    """

    def __init__(
        self, prior: Prior, tokenizer: TubeletTokenizer, prompt: Tensor | None = None, seed: int = 0, **options: Any
    ):
        check_levels([prior.levels], [tokenizer.levels])
        how = Options(**{"window": 6} | options)
        how.check(prior, 1)
        self.prior, self.tokenizer = prior, tokenizer
        self.past: Past = {}
        self.drawn, self.seconds = 0, 0.0
        with torch.no_grad(), one_thread(), evaluating(prior), autocast(prior.start.device):
            tokens = None if prompt is None else prompt_tokens(prior, tokenizer, prompt)
            given = given_digits(prior, tokens, 1 if tokens is None else tokens.shape[1], 1)
            self.sampler = Sampler(prior, [seed], how, given)
        self.waiting = list(given[0].view(-1, prior.tokens_per_latent_frame, len(prior.levels)))

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> Tensor:
        """The next frames: (C, T, H, W) in [-1, 1], on the CPU; those of a latent frame.

        A decoder that looks ahead draws the last of them when it knows the latent frame after it.
        """
        begin = time.perf_counter()
        with torch.no_grad(), one_thread(), evaluating(self.prior), autocast(self.prior.start.device):
            frames = self._piece()
            while not frames.shape[1]:
                frames = self._piece()
        self.seconds += time.perf_counter() - begin
        self.drawn += frames.shape[1]
        return frames

    def _piece(self) -> Tensor:
        """One more latent frame, and the frames that the decoder makes of all it has and did not yet show."""
        if self.waiting:
            digits = self.waiting.pop(0)
        else:
            _, digits = next(self.sampler.run(self.sampler.samples[0].latent_frames + 1))
        indices = self.prior.quantizer.indices(digits).view(1, 1, *self.prior.grid)
        where = next(self.tokenizer.parameters()).device
        return full_precision(self.tokenizer.decode(indices.to(where), past=self.past, more=True)[0]).cpu()

    def change(self, seed: int | None = None, **options: Any) -> None:
        """Draw what comes with other options (those of ``Options``) or from another seed.

        Raises:
            ValueError: where ``Options.check`` or ``Sampler.change`` does.
        """
        how = replace(self.sampler.how, **options)
        how.check(self.prior, 1)
        self.sampler.change(how)
        if seed is not None:
            self.sampler.samples[0].dice.manual_seed(seed)
