"""Exact parallel sampling: several tokens a pass, and in float32 the very tokens that the plain loop draws.

The noise of every token is drawn beforehand, so a token is a function of the tokens before it. The next tokens are
guessed, read in one pass, and each is drawn with its own noise. Up to and including the first that differs from its
guess they are what the plain loop would have drawn, since all that they depend on is. The others are the next guesses.
(Speculative Jacobi decoding: Teng et al., 2024, arXiv:2410.01699; with coupled noise: arXiv:2510.24211.)

"The very tokens" holds in float32: there a row's numbers depend on the other rows of its pass in the last digits only,
and that decides nothing unless two tokens are as good as equal. Under autocast (``vg.precision``) they depend on them
by a rounding of half precision, so now and then another token is drawn than the plain loop's, and the tokens after it
differ. Each is still drawn from the prior's distribution as half precision computes it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vg.interrupts import Stop
from vg.models.blocks import Past
from vg.models.goals import Goal
from vg.models.transformer import Prior
from vg.sampling.filters import gumbel
from vg.sampling.guidance import conditionings
from vg.sampling.options import Options
from vg.sampling.packed import ROWS, Bias, Cache, Packed, Span
from vg.sampling.windows import Windows


@dataclass
class CachedBranch:
    """A guidance branch (``vg.sampling.guidance``) of a whole batch, with its cache.

    Attributes:
        weight: of its logits in the sum that is drawn from.
        label: (B,) int64, each sample's label, -1 for none.
        conditioning: ``Prior.conditioning`` of all latent frames to come, (B, t * h * w, D), or None.
        drops_history: whether it begins anew with every latent frame.
        cache: its keys and values.
    """

    weight: float
    label: Tensor
    conditioning: Tensor | None
    drops_history: bool
    cache: Cache


@dataclass
class Sample:
    """One video that is being drawn.

    Attributes:
        row: its number in the batch.
        dice: gives its noise.
        latent_frames: how many are finished.
        tokens: (h * w, digits) int64 on the CPU, the latent frame it is in: drawn up to ``place``, guessed from there.
        place: how much of it is drawn.
        noise: (h * w, digits, V), Gumbel, of this latent frame.
        bases: for each branch, the inputs less what this latent frame's tokens add, (h * w, D).
        embedded: for each branch, ``Packed.embed`` of the row before this latent frame and of its own tokens.
        past: what the context network remembers.
    """

    row: int
    dice: torch.Generator
    latent_frames: int = 0
    tokens: Tensor = field(init=False)
    place: int = 0
    noise: Tensor | None = None
    bases: list[Tensor] = field(default_factory=list)
    embedded: list[Tensor] = field(default_factory=list)
    past: Past = field(default_factory=dict)


class Sampler:
    """Draws latent frames, for a batch in which every sample goes ahead at its own speed.

    Args:
        prior: in evaluation mode.
        seeds: of each sample.
        how: the options, checked.
        given: (B, L, digits), the digits of whole latent frames to go on from.
        condition, goal: as in ``generate_tokens``, one for each sample.
        kept: (B, L, digits), ``kept_digits``: of tokens that are not to be drawn; None for none.
        latent_frames: how many there will be, if that is known: room is made for as many.

    Attributes:
        passes: through the layers so far, and ``drawn``: tokens that they brought.
    """

    def __init__(
        self,
        prior: Prior,
        seeds: list[int],
        how: Options,
        given: Tensor,
        condition: Tensor | None = None,
        goal: Goal | None = None,
        kept: Tensor | None = None,
        latent_frames: int | None = None,
    ):
        self.prior, self.how, self.packed = prior, how, Packed(prior)
        self.passes = self.drawn = 0
        self.windows = Windows(
            min(ROWS, prior.tokens_per_latent_frame), len(seeds), right=8.0 if given.shape[1] else 0.0
        )
        batch, device = len(seeds), prior.start.device
        self.samples = [Sample(b, torch.Generator().manual_seed(seed)) for b, seed in enumerate(seeds)]
        self.conditioning, unconditioned = conditionings(prior, condition, goal, latent_frames)
        self.kept = (
            None if kept is None else kept.cpu().reshape(batch, -1, prior.tokens_per_latent_frame, len(prior.levels))
        )
        label, reach = how.label_tensor(batch, device), how.reach(prior)
        room = (latent_frames or given.shape[1] // prior.tokens_per_latent_frame + 2) * prior.tokens_per_latent_frame
        self.branches = [self._branch(label, self.conditioning, room, reach)]
        if how.guidance != 1.0:
            self.branches.append(self._branch(torch.full_like(label, -1), unconditioned, room, reach))
        self.bias = Bias(prior.slopes, reach, self.packed.like)
        self.change(how)
        for sample in self.samples:
            self._take(sample, given[sample.row])

    def _branch(
        self, label: Tensor, conditioning: Tensor | None, room: int, reach: int | None, drops_history: bool = False
    ) -> CachedBranch:
        config = self.prior.config
        head = config.width // config.heads
        cache = Cache(config.depth, len(label), config.heads, head, room, reach, self.packed.like)
        return CachedBranch(0.0, label, conditioning, drops_history, cache)

    def change(self, how: Options) -> None:
        """Draw all that comes with other options. Every sample must be between two latent frames.

        Raises:
            ValueError: if a sample is within one; if guidance by a label is to begin or end, for which what was read
                without the label is needed from the start; if the window is another.
        """
        if any(sample.bases for sample in self.samples):
            raise ValueError("Sampler: options change between two latent frames only; draw this one to its end.")
        if (how.guidance != 1.0) != (self.how.guidance != 1.0) or how.window != self.how.window:
            raise ValueError("Sampler: a guidance of 1 stays 1, any other may change, and the window stays.")
        self.how, batch = how, len(self.samples)
        branches = [branch for branch in self.branches if not branch.drops_history]
        branches[0].label = how.label_tensor(batch, self.prior.start.device)
        for branch, weight in zip(branches, (how.guidance + how.history - 1, 1 - how.guidance)):
            branch.weight = weight
        if how.history != 1.0:  # it remembers nothing, so it may begin at any time
            without = self._branch(
                branches[0].label, self.conditioning, self.prior.tokens_per_latent_frame, None, drops_history=True
            )
            without.weight = 1 - how.history
            branches.append(without)
        self.branches = branches
        self.weights = torch.tensor([branch.weight for branch in branches]).to(self.prior.start)

    def _take(self, sample: Sample, given: Tensor) -> None:
        """Read a prompt (L, digits), latent frame by latent frame."""
        for tokens in given.cpu().view(-1, self.prior.tokens_per_latent_frame, given.shape[1]):
            self._begin(sample)
            sample.tokens = tokens.clone()
            self._embed(sample, 0, self.prior.tokens_per_latent_frame)
            while sample.place < self.prior.tokens_per_latent_frame:
                count = min(ROWS, self.prior.tokens_per_latent_frame - sample.place)
                self._read([sample], [count], all_branches=False)
                sample.place += count
            self.finish(sample)

    def finish(self, sample: Sample) -> Tensor:
        """The latent frame (h * w, digits) that ``sample`` has come to the end of; it goes on with the next."""
        sample.latent_frames += 1
        sample.place, sample.noise, sample.bases = 0, None, []
        return sample.tokens.clone()

    def _begin(self, sample: Sample) -> None:
        """Prepare a latent frame. The tokens of the last one are the first guess."""
        prior, columns, d = self.prior, self.prior.grid[1], self.prior.config.width
        before = row = seen = None
        if sample.latent_frames:
            before = sample.tokens.to(prior.start.device)
            seen = prior.contexts(before[None], sample.past)
            row = self.packed.embed(before[-columns:])
        else:
            sample.tokens = torch.zeros(prior.tokens_per_latent_frame, len(prior.levels), dtype=torch.long)
        if self.kept is not None and sample.latent_frames < self.kept.shape[1]:
            kept = self.kept[sample.row, sample.latent_frames]
            sample.tokens = torch.where(kept >= 0, kept, sample.tokens)
        sample.embedded = []
        for branch in self.branches:
            first = branch.drops_history or before is None
            sample.bases.append(self._base(branch, sample, None if first else seen))
            embedded = prior.start.new_zeros(columns + prior.tokens_per_latent_frame, 3 * d)
            if not first:
                embedded[:columns] = row
            sample.embedded.append(embedded)

    def _base(self, branch: CachedBranch, sample: Sample, seen: Tensor | None) -> Tensor:
        """(h * w, D): what inputs hold beside this latent frame's own tokens. Without ``seen`` it is the first."""
        row, begin = sample.row, sample.latent_frames * self.prior.tokens_per_latent_frame
        before = self.prior.nothing.expand(1, self.prior.tokens_per_latent_frame, -1) if seen is None else seen
        conditioning = (
            None
            if branch.conditioning is None
            else branch.conditioning[row : row + 1, begin : begin + self.prior.tokens_per_latent_frame]
        )
        first = 0 if branch.drops_history else begin
        return self.prior.known(before, first, branch.label[row : row + 1], conditioning)[0]

    def advance(self, samples: list[Sample]) -> None:
        """One pass for these samples, each of which is drawn a token at least; none is at the end of its frame."""
        most = self.windows.choose()
        counts = [min(most, self.prior.tokens_per_latent_frame - sample.place) for sample in samples]
        noise: list[Tensor] = []
        for sample, count in zip(samples, counts):
            if not sample.bases:
                self._begin(sample)
            if sample.noise is None:
                shape = (self.prior.tokens_per_latent_frame, len(self.prior.levels), max(self.prior.levels))
                sample.noise = gumbel(torch.rand(shape, generator=sample.dice)).to(self.prior.start)
            noise.append(sample.noise[sample.place : sample.place + count])
            self._embed(sample, max(0, sample.place - 1), sample.place + count - 1)
        hidden = self._read(samples, counts)
        rows = [(sample, slice(sample.place, sample.place + count)) for sample, count in zip(samples, counts)]
        guess = torch.cat([sample.tokens[part] for sample, part in rows]).to(hidden.device)
        kept = None
        if self.kept is not None:
            kept = torch.cat([self.kept[sample.row, sample.latent_frames, part] for sample, part in rows])
            kept = kept.to(hidden.device)
        drawn = self.packed.head.draw(hidden, self.weights, torch.cat(noise), guess, counts, self.how, kept)
        right = [self._keep(sample, tokens) for sample, tokens in zip(samples, drawn.cpu().split(counts))]
        self.windows.learn(sum(right) / len(right))
        self.passes += 1

    def _embed(self, sample: Sample, first: int, stop: int) -> None:
        if stop > first:
            rows = self.packed.embed(sample.tokens[first:stop].to(self.prior.start.device))
            for embedded in sample.embedded:
                embedded[self.packed.columns + first : self.packed.columns + stop] = rows

    def _read(self, samples: list[Sample], counts: list[int], all_branches: bool = True) -> Tensor:
        """Hidden states (branches * rows, D) of each sample's next positions.

        Without ``all_branches`` those that drop the history are left out.
        """
        x, spans = [], []
        for k, branch in enumerate(self.branches):
            if branch.drops_history and not all_branches:
                continue
            for sample, count in zip(samples, counts):
                x.append(self.packed.inputs(sample.bases[k], sample.embedded[k], sample.place, count))
                begin = 0 if branch.drops_history else sample.latent_frames * self.prior.tokens_per_latent_frame
                spans.append(Span(branch.cache, sample.row, begin + sample.place, count))
        return self.packed.hidden(x[0] if len(x) == 1 else torch.cat(x), spans, self.bias)

    def _keep(self, sample: Sample, drawn: Tensor) -> int:
        """Keep what was drawn up to the first token that differs from its guess; the rest are guesses.

        Returns:
            how many guesses in a row came true.
        """
        guess = sample.tokens[sample.place : sample.place + len(drawn)]
        wrong = (drawn != guess).any(dim=1).tolist()
        right = wrong.index(True) if True in wrong else len(wrong)
        guess.copy_(drawn)
        kept = min(right + 1, len(drawn))
        sample.place += kept
        self.drawn += kept
        return right

    def run(
        self, latent_frames: int, drawn: Callable[[int], object] = lambda count: None, stop: Stop | None = None
    ) -> Iterator[tuple[int, Tensor]]:
        """Draw until every sample has so many latent frames, or an interrupt comes.

        Args:
            latent_frames: the prompt's included.
            drawn: called after each pass with the number of tokens that it brought.
            stop: from ``vg.interrupts.heeded``; looked at before each pass.

        Yields:
            (sample, its next latent frame (h * w, digits)), as they come.
        """
        while not (stop and stop.asked):
            todo = [sample for sample in self.samples if sample.latent_frames < latent_frames]
            if not todo:
                return
            before = self.drawn
            self.advance(todo)
            drawn(self.drawn - before)
            for sample in todo:
                if sample.place == self.prior.tokens_per_latent_frame:
                    yield sample.row, self.finish(sample)
