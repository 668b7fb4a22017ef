"""Wrong answers to the tasks of notebook 01, and words of what their graders say."""

KL = """\
def kl(mean, log_variance):
    return 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance)
"""
SAMPLE = """\
def reparameterise(mean, log_variance, noise):
    return mean + (0.5 * log_variance).exp() * noise
"""
ELBO = """\
def negative_elbo(x, pixels, mean, log_variance):
    distortion = -discretized_logistic(x, *pixels).flatten(1).sum(1)
    rate = kl(mean, log_variance).sum(1)
    return (distortion + rate) / x[0].numel() / math.log(2)
"""


def but(right: str, *changes: tuple[str, str]) -> str:
    """A right answer, spoiled."""
    for old, new in changes:
        assert old in right, f"{old!r} is not in the answer"
        right = right.replace(old, new)
    return right


MISTAKES = {
    "kl": [
        (but(KL, ("0.5 * ", "")), "the factor 1/2 is missing"),
        (but(KL, (" - 1", "")), "the -1 is missing"),
        (but(KL, (" - log_variance)", " + log_variance)")), "the sign of the last term"),
        (
            but(KL, ("log_variance.exp() - 1 - log_variance", "log_variance**2 - 1 - (log_variance**2).log()")),
            "exp(log",
        ),
        (KL.replace("- log_variance)", "- log_variance).sum(1)"), "nothing is summed yet"),
        (but(KL, ("return ", "")), "is there a `return`?"),
    ],
    "reparameterise": [
        (but(SAMPLE, ("0.5 * ", "")), "the variance; the standard deviation is its root"),
        (but(SAMPLE, ("(0.5 * log_variance).exp()", "log_variance")), "log_variance itself"),
        (but(SAMPLE, ("* noise", "* torch.randn_like(mean)")), "sample nothing"),
        (but(SAMPLE, ("mean + (0.5 * log_variance).exp() * noise", "mean")), "the noise is missing"),
        (but(SAMPLE, (".exp() * noise", ".exp().detach() * noise")), "no gradient comes through"),
        (but(SAMPLE, ("return ", "")), "is there a `return`?"),
    ],
    "negative_elbo": [
        (but(ELBO, (" / math.log(2)", "")), "these are nats"),
        (but(ELBO, (" / x[0].numel()", "")), "divide by its numbers"),
        (but(ELBO, ("(distortion + rate)", "distortion")), "the KL is missing"),
        (but(ELBO, ("distortion = -", "distortion = ")), "the likelihood has the wrong sign"),
        (but(ELBO, ("+ rate", "- rate")), "the KL has the wrong sign"),
        (but(ELBO, ("log_variance).sum(1)", "log_variance).mean(1)")), "a mean over the latents"),
        (but(ELBO, ("(distortion + rate) / x[0].numel()", "(distortion / x[0].numel() + rate)")), "only the pixels"),
        (but(ELBO, (".flatten(1).sum(1)", ".sum()"), (").sum(1)", ").sum()")), "not over the batch"),
        (but(ELBO, ("*pixels", "pixels")), "stopped with TypeError"),
        (but(ELBO, ("return ", "")), "is there a `return`?"),
    ],
}
