"""Wrong answers to the tasks of notebook 05, and words of what their graders say."""

PATCHIFY = """\
def patchify(video, tubelet):
    t, h, w = tubelet
    return rearrange(video, "b c (T t) (H h) (W w) -> b T H W (c t h w)", t=t, h=h, w=w)
"""
TO_DIGITS = """\
def to_digits(index, levels):
    return torch.stack([index // math.prod(levels[:i]) % n for i, n in enumerate(levels)], dim=-1)
"""
ONE_BACK = """\
def one_back(x, weight, bias):
    before = torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], dim=1)
    return F.linear(before, weight[0]) + F.linear(x, weight[1], bias)
"""
WITH_NEXT = """\
def with_next(codes):
    after = torch.cat([codes[:, 1:], torch.zeros_like(codes[:, :1])], dim=1)
    return torch.cat([codes, after], dim=-1)
"""


def wrong(right: str, *changes: tuple[str, str]) -> str:
    for old, new in changes:
        assert old in right, old
        right = right.replace(old, new)
    return right


MISTAKES = {
    "patchify": [
        (wrong(PATCHIFY, ("(T t) (H h) (W w) ->", "(t T) (h H) (w W) ->")), "has pixels of others"),
        (wrong(PATCHIFY, ("(c t h w)", "(t h w c)")), "in another order"),
        (wrong(PATCHIFY, ("b T H W (c t h w)", "b (T H W) (c t h w)")), "should be (2, 2, 2, 2, 72)"),
        (wrong(PATCHIFY, ("t=t, h=h, w=w", "T=t, H=h, W=w")), "the shape is"),
        (wrong(PATCHIFY, ("    return ", "    ")), "is there a return"),
        (wrong(PATCHIFY, (", t=t, h=h, w=w", "")), "it stops with"),
    ],
    "to_digits": [
        (wrong(TO_DIGITS, (" % n", "")), "take the remainder"),
        (wrong(TO_DIGITS, ("//", "/")), "divide with //"),
        (wrong(TO_DIGITS, ("levels[:i]", "levels[i + 1 :]")), "the first digit runs fastest"),
        (wrong(TO_DIGITS, ("dim=-1", "dim=0")), "digits come last"),
        (wrong(TO_DIGITS, ("torch.stack(", "list("), (", dim=-1)", ")")), "stack the digits"),
    ],
    "one_back": [
        (
            wrong(ONE_BACK, ("[torch.zeros_like(x[:, :1]), x[:, :-1]]", "[x[:, 1:], torch.zeros_like(x[:, :1])]")),
            "ahead",
        ),
        (
            wrong(ONE_BACK, ("torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], dim=1)", "x.roll(1, 1)")),
            "round the end",
        ),
        (wrong(ONE_BACK, ("weight[1], bias", "weight[1]")), "the bias is missing"),
        (wrong(ONE_BACK, ("weight[0])", "weight[0], bias)")), "added twice"),
        (
            wrong(ONE_BACK, ("weight[1]", "weight[2]"), ("weight[0]", "weight[1]"), ("weight[2]", "weight[0]")),
            "other numbers",
        ),
        (wrong(ONE_BACK, ("F.linear(x, weight[1], bias)", "x @ weight[1] + bias")), "other numbers"),
        (wrong(ONE_BACK, ("x[:, :-1]]", "x]")), "it stops with"),
    ],
    "with_next": [
        (wrong(WITH_NEXT, ("codes[:, 1:], torch.zeros_like(codes[:, :1])", "codes[:, 1:], codes[:, :1]")), "be zeros"),
        (wrong(WITH_NEXT, ("codes[:, 1:], torch.zeros_like(codes[:, :1])", "codes[:, 1:], codes[:, -1:]")), "be zeros"),
        (
            wrong(WITH_NEXT, ("codes[:, 1:], torch.zeros_like(codes[:, :1])", "0 * codes[:, :1], codes[:, :-1]")),
            "of the patch-frame before",
        ),
        (wrong(WITH_NEXT, ("[codes, after]", "[after, codes]")), "own codes first"),
        (wrong(WITH_NEXT, ("[codes, after], dim=-1", "[codes, after], dim=1")), "joined along the last axis"),
        (wrong(WITH_NEXT, ("    return ", "    ")), "return it"),
        (
            wrong(WITH_NEXT, ("[codes[:, 1:], torch.zeros_like(codes[:, :1])]", "[codes[:, 1:]]")),
            "zeros after the last",
        ),
    ],
}
