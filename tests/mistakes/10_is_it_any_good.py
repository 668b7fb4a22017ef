"""Wrong tries at the tasks of notebook 10, and words of what their readers should be told."""


def by_shot(result: str) -> str:
    return f"""
def interval(values, groups, times=2000, seed=0):
    dice = torch.Generator().manual_seed(seed)
    shots = torch.tensor(groups)
    means = torch.stack([values[shots == s].mean() for s in sorted(set(groups))])
    {result}
"""


def between(result: str) -> str:
    return f"""
def frechet(a, b):
    s, t = torch.cov(a.T), torch.cov(b.T)
    gap = (a.mean(0) - b.mean(0)).square().sum()
    root = torch.linalg.eigvals(s @ t).real.clamp(min=0).sqrt().sum()
    {result}
"""


LIMITS = "quantile(torch.tensor([0.025, 0.975])).tolist()"
MISTAKES = {
    "interval": [
        (by_shot("pass"), "expected two numbers"),
        (by_shot(f"return means.{LIMITS}"), "too wide"),
        (
            by_shot(
                "lots = torch.randint(len(values), (times, len(values)), generator=dice)"
                f"\n    return values[lots].mean(1).{LIMITS}"
            ),
            "too narrow",
        ),
        (by_shot("return values.mean() + 1, values.mean() + 2"), "does not hold the mean"),
    ],
    "frechet": [
        (between("pass"), "expected one number"),
        (between("return gap"), "only the means"),
        (between("return gap + s.trace() + t.trace()"), "is missing"),
        (between("return (gap + s.trace() + t.trace() - 2 * root).sqrt()"), "by convention"),
        (between("return gap + s.trace() + t.trace() - root"), "a factor of 2"),
        (between("return b.mean() - gap"), "another number"),
    ],
}
