"""Wrong answers to the tasks of notebook 01, and words of what their graders say."""

from spoiled import but

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


MISTAKES = {
    "kl": [
        (but(KL, ("0.5 * ", "")), "2.000 to 2.000 times the right answer: for each number ½"),
        (but(KL, (" - 1", "")), "the -1 is missing"),
        (but(KL, (" - log_variance)", " + log_variance)")), "the sign of the last term"),
        (
            but(KL, ("log_variance.exp() - 1 - log_variance", "log_variance**2 - 1 - (log_variance**2).log()")),
            "exp(log",
        ),
        (but(KL, ("return 0.5", "return -0.5")), "-1.000 to -1.000 times"),
        (but(KL, ("- log_variance)", "- log_variance) / math.log(2)")), "1.443 to 1.443 times"),
        (but(KL, ("- 1", "+ 1")), "½ (m² + s² - 1 - log s²)"),
        (but(KL, (" - log_variance)", " - log_variance / 2)")), "½ (m² + s² - 1 - log s²)"),
        (but(KL, (" - log_variance)", ")")), "½ (m² + s² - 1 - log s²)"),
        (but(KL, ("mean**2", "mean")), "½ (m² + s² - 1 - log s²)"),
        (but(KL, ("0.5 * (mean**2", "0.5 * mean**2 + (0")), "½ (m² + s² - 1 - log s²)"),
        (but(KL, ("log_variance.exp()", "log_variance.exp() ** 2")), "s² = exp(log_variance)"),
        (but(KL, ("mean**2", "mean.pow_(2)")), "it changes its inputs"),
        (KL.replace("- log_variance)", "- log_variance).sum(1)"), "not summed"),
        (but(KL, ("return ", "")), "is there a `return`?"),
        (KL.split("    return")[0] + "    raise NotImplementedError('kl is still blank.')\n", "kl is still blank.\n"),
    ],
    "reparameterise": [
        (but(SAMPLE, ("0.5 * ", "")), "the variance; the standard deviation is its root"),
        (but(SAMPLE, ("(0.5 * log_variance).exp()", "log_variance")), "log_variance itself"),
        (but(SAMPLE, ("* noise", "* torch.randn_like(mean)")), "sample nothing: use `noise`"),
        (but(SAMPLE, ("(0.5 * log_variance).exp()", "0.5 * log_variance.exp()")), "s = exp(log_variance / 2)"),
        (but(SAMPLE, ("0.5 * ", "2 * ")), "s = exp(log_variance / 2)"),
        (but(SAMPLE, ("(0.5 * log_variance).exp()", "log_variance.sqrt()")), "s = exp(log_variance / 2)"),
        (
            but(SAMPLE, ("mean + (0.5 * log_variance).exp()", "(mean + (0.5 * log_variance).exp())")),
            "z = m + s * noise",
        ),
        (but(SAMPLE, ("mean + ", "mean - ")), "z = m + s * noise"),
        (but(SAMPLE, ("mean + ", "")), "z = m + s * noise"),
        (
            but(SAMPLE, ("    return", "    noise *= (0.5 * log_variance.detach()).exp()\n    return")),
            "it changes its inputs",
        ),
        (but(SAMPLE, ("mean + (0.5 * log_variance).exp() * noise", "mean")), "the noise is missing"),
        (but(SAMPLE, (".exp() * noise", ".exp().detach() * noise")), "no gradient comes through"),
        (but(SAMPLE, ("return ", "")), "is there a `return`?"),
    ],
    "negative_elbo": [
        (but(ELBO, (" / math.log(2)", "")), "0.693 to 0.693 times the right answer: for each image"),
        (but(ELBO, (" / x[0].numel()", "")), "3072.000 to 3072.000 times"),
        (but(ELBO, ("(distortion + rate)", "distortion")), "the KL is missing"),
        (but(ELBO, ("distortion = -", "distortion = ")), "the likelihood has the wrong sign"),
        (but(ELBO, ("+ rate", "- rate")), "the KL has the wrong sign"),
        (but(ELBO, ("log_variance).sum(1)", "log_variance).mean(1)")), "a mean over the latents"),
        (but(ELBO, ("(distortion + rate) / x[0].numel()", "(distortion / x[0].numel() + rate)")), "only the pixels"),
        (
            but(ELBO, (".flatten(1).sum(1)", ".sum()"), (").sum(1)", ").sum()")),
            "for each image (sum of -log p, by flatten(1).sum(1)",
        ),
        (but(ELBO, (".flatten(1)", "")), "by flatten(1).sum(1)"),
        (but(ELBO, ("x[0].numel()", "x.numel()")), "0.200 to 0.200 times"),
        (but(ELBO, ("return (", "return -(")), "-1.000 to -1.000 times"),
        (but(ELBO, ("/ math.log(2)", "* math.log(2)")), "0.480 to 0.480 times"),
        (but(ELBO, ("(distortion + rate)", "distortion + rate")), "parentheses"),
        (but(ELBO, ("kl(mean, log_variance)", "kl(log_variance, mean)")), "are exchanged"),
        (
            but(
                ELBO,
                ("flatten(1).sum(1)", "flatten(1).mean(1)"),
                (").sum(1)\n", ").mean(1)\n"),
                (" / x[0].numel()", ""),
            ),
            "a mean of both",
        ),
        (but(ELBO, ("-discretized_logistic(x, *pixels)", "(x - pixels[0]).square()")), "sum of -log p"),
        (but(ELBO, ("*pixels", "pixels")), "it stops with TypeError"),
        (but(ELBO, ("return ", "")), "is there a `return`?"),
    ],
}
