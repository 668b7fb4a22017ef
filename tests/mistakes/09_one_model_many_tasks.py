"""Wrong tries at the tasks of notebook 09, and words of what their readers should be told."""


def rows(shares: str, waves: str = "math.pi * s[:, None] * k", last: str = "math.log2(n) - 4") -> str:
    return f"""
def features(n):
    k, s = torch.arange(1, 17), {shares}
    return torch.cat([torch.cos({waves}), torch.full((n, 1), {last})], dim=1)
"""


def between(result: str) -> str:
    return f"""
def bridge(P, goal, k):
    way = torch.linalg.matrix_power(P, k - 1)[:, goal]
    {result}
"""


def drawn(result: str) -> str:
    return f"""
def resample(bits, dice):
    n = len(bits)
    {result}
"""


CENTRES = "(torch.arange(n) + 0.5) / n"
MISTAKES = {
    "features": [
        ("def features(n):\n    pass", "Is there a return"),
        (rows("torch.arange(n) / n"), "share is of the centre"),
        (rows(CENTRES, "2 * math.pi * s[:, None] * k"), "first row and the last are alike"),
        (rows(CENTRES, "math.pi * s[:, None] * (k - 1)"), "share 0"),
        (rows(CENTRES, "math.pi * s[:, None] * k ** 2"), "the cosines are others"),
        (rows(CENTRES, last="math.log2(n)"), "the last column"),
    ],
    "bridge": [
        (between("pass"), "expected a tensor (4, 4)"),
        (between("return P"), "the goal changes nothing"),
        (between("return P * way"), "divide each row by its sum"),
        (between("x = P * way\n    return x / x.sum(1, keepdim=True)"), "divides 0 by 0"),
        (between("x = P * (P @ way)\n    return x / x.sum(1, keepdim=True).clamp(min=1e-12)"), "one step too many"),
        (
            between("x = P * way[:, None]\n    return x / x.sum(1, keepdim=True).clamp(min=1e-12)"),
            "another result",
        ),
    ],
    "resample": [
        (drawn("pass"), "Is there a return"),
        (drawn("return torch.multinomial(torch.exp2(-bits), n, True, generator=dice)"), "take away the smallest"),
        (drawn("return torch.multinomial((-bits).softmax(0), n, True, generator=dice)"), "e ** -bits"),
        (drawn("return torch.multinomial(torch.exp2(bits - bits.max()), n, True, generator=dice)"), "costly ones"),
        (drawn("return torch.full((n,), int(bits.argmin()))"), "do not take the best"),
        (drawn("return torch.multinomial(torch.exp2(bits.min() - bits), n, generator=dice)"), "with replacement"),
    ],
}
