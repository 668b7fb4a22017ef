"""Wrong answers to the tasks of notebook 02, and words of what their graders say."""

from spoiled import but

NEAREST = """\
def nearest(z, codebook):
    return (codebook.square().sum(-1) - 2 * z @ codebook.T).argmin(-1)
"""
STRAIGHT = """\
def straight_through(z, codes):
    return z + (codes - z).detach()
"""
EMA = """\
def ema_step(counts, sums, z, indices, decay=0.99, eps=1e-5):
    hits = F.one_hot(indices, len(counts)).float()
    counts = decay * counts + (1 - decay) * hits.sum(0)
    sums = decay * sums + (1 - decay) * hits.T @ z
    smooth = (counts + eps) / (counts.sum() + len(counts) * eps) * counts.sum()
    return counts, sums, sums / smooth[:, None]
"""


MISTAKES = {
    "nearest": [
        (but(NEAREST, ("codebook.square().sum(-1) - 2 * z @ codebook.T", "-z @ codebook.T")), "|e|^2 is missing"),
        (but(NEAREST, ("2 * ", "")), "check the factor 2"),
        (but(NEAREST, ("argmin", "argmax")), "argmin, not argmax"),
        (but(NEAREST, (".argmin(-1)", ".min(-1).values")), "argmin, not min"),
        (but(NEAREST, (".argmin(-1)", ".argmin()")), "expected the shapes [(5, 40)]"),
        (
            but(NEAREST, ("codebook.square().sum(-1) - 2 * z @ codebook.T", "(z - codebook).square().sum(-1)")),
            "stopped",
        ),
        (but(NEAREST, ("return ", "")), "is there a `return`?"),
    ],
    "straight_through": [
        (but(STRAIGHT, ("z + (codes - z).detach()", "codes")), "no gradient reaches z"),
        (but(STRAIGHT, ("z + (codes - z).detach()", "z")), "the value is not the code"),
        (but(STRAIGHT, ("z + (codes - z).detach()", "codes.detach()")), "no gradient comes through"),
        (but(STRAIGHT, (".detach()", "")), "no gradient reaches z"),
        (but(STRAIGHT, ("(codes - z).detach()", "codes - z.detach()")), "reaches the codes as well"),
        (but(STRAIGHT, ("return ", "")), "is there a `return`?"),
    ],
    "ema_step": [
        (but(EMA, ("decay * counts + (1 - decay)", "(1 - decay) * counts + decay")), "are swapped"),
        (but(EMA, (" + (1 - decay) * hits.sum(0)", " + hits.sum(0)")), "the counts are"),
        (but(EMA, ("hits.T @ z", "(hits.T @ z) / hits.sum(0).clamp(min=1)[:, None]")), "no mean"),
        (but(EMA, ("sums / smooth[:, None]", "sums / counts[:, None]")), "divided by zero"),
        (but(EMA, ("sums / smooth[:, None]", "sums / (counts + 1)[:, None]")), "not sums / smoothed"),
        (but(EMA, ("return counts,", "return smooth,")), "unsmoothed"),
        (but(EMA, ("counts = decay * counts + (1 - decay)", "counts *= decay\n    counts += (1 - decay)")), "changed"),
        (but(EMA, ("[:, None]", "")), "stopped with RuntimeError"),
        (but(EMA, ("return counts, sums, ", "return ")), "gives [(6, 3)]"),
    ],
}
