"""How many tokens to guess in a pass of parallel sampling: a question of speed alone, the tokens stay the same."""

import math


class Windows:
    """Guesses more tokens than of late came true in a row: 12 times the root of them, and half more at least.

    More than can be hoped for pays: a token that was guessed too early is drawn again in the next passes, and the guess
    that is left when its turn comes is a better one. Of short runs many times as many, since a short window makes runs
    short itself. (Choosing the window that brings the most in its own pass made passes half as fruitful; so did, where
    tokens depend on each other, five times the run; benchmarks/LOG.md.)

    Args:
        longest: tokens in a window, at most.
        samples: that share a pass. The more they are, the less a pass with few rows wastes.
        right: guesses in a row that may be hoped for at first. Without a prompt there is nothing to guess from, and
            samples that come true a token each stay side by side, which saves their attention from being one by one.
    """

    def __init__(self, longest: int, samples: int = 1, right: float = 0.0):
        self.longest, self.ahead = longest, 12 / math.sqrt(samples)
        self.right = right  # a running mean

    def choose(self) -> int:
        """Tokens to guess, 1 to ``longest``."""
        return min(self.longest, 1 + int(max(self.ahead * min(self.right, math.sqrt(self.right)), 1.5 * self.right)))

    def learn(self, right: float) -> None:
        """In the last pass so many guesses in a row came true, on average over its samples."""
        self.right += 0.1 * (right - self.right)
