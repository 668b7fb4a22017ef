"""Wrong cells that readers of notebook 03 are likely to write, and words of what they are told."""

WINDOWS = """
def by_windows(video, kernel):
    a, b, c = kernel.shape[2:]
    windows = video.unfold(1, a, 1).unfold(2, b, 1).unfold(3, c, 1)
    {end}
"""
CAUSAL = """
def causal(x, weight, stride=1):
    k = weight.shape[2]
    {end}
"""
CONV = "return F.conv3d(F.pad(x, ({pad})), weight, stride=(stride, 1, 1))"
STREAM = """
def stream(x, weight, state=None):
    keep = weight.shape[2] - 1
    {first}
        state = x.new_zeros(*x.shape[:2], keep, *x.shape[3:])
    seen = torch.cat([state, x], dim=2)
    {end}
"""
GOES_ON = dict(first="if state is None:", end="return F.conv3d(seen, weight), seen[:, :, seen.shape[2] - keep :]")
MISTAKES = {
    "by_windows": [
        (WINDOWS.format(end="out = torch.einsum('cthwijk,ocijk->othw', windows, kernel)"), "is there a return"),
        (WINDOWS.format(end="return torch.einsum('cthwijk,ocijk->octhw', windows, kernel)"), "channels added up"),
        (
            WINDOWS.format(end="return torch.einsum('cthwijk,ocijk->othw', windows, kernel.flip(2, 3, 4))"),
            "the kernel is mirrored",
        ),
        (
            WINDOWS.format(end="return torch.einsum('cthwijk,ocxyz->othw', windows, kernel)"),
            "do the letters pair",
        ),
    ],
    "causal": [
        (CAUSAL.format(end="y = " + CONV.format(pad="0, 0, 0, 0, k - stride, 0")[7:]), "is there a return"),
        (CAUSAL.format(end=CONV.format(pad="0, 0, 0, 0, 1, 1")), "it sees the future"),
        (CAUSAL.format(end=CONV.format(pad="0, 0, 0, 0, 0, k - stride")), "it sees the future"),
        (CAUSAL.format(end=CONV.format(pad="0, 0, 0, 0, k - 1, 0")), "Pad kernel - stride"),
        (CAUSAL.format(end="return F.conv3d(x, weight, stride=(stride, 1, 1))"), "Pad time alone"),
        (CAUSAL.format(end=CONV.format(pad="k - 1, 0, 0, 0, 0, 0")), "Pad time alone"),
    ],
    "stream": [
        (STREAM.format(**GOES_ON | {"end": "return F.conv3d(seen, weight)"}), "it should be two tensors"),
        (STREAM.format(**GOES_ON | {"first": "if True:"}), "do you go on from the state"),
        (STREAM.format(**GOES_ON | {"end": "return F.conv3d(seen, weight), x[:, :, -keep:]"}), "after a short piece"),
        (
            STREAM.format(**GOES_ON | {"end": "return F.conv3d(seen, weight), seen[:, :, :keep]"}),
            "do you go on from the state",
        ),
        (STREAM.format(**GOES_ON | {"end": "return F.conv3d(x, weight), seen[:, :, -keep:]"}), "keep k - 1"),
        (
            STREAM.format(**GOES_ON | {"end": "return F.conv3d(seen, weight), F.conv3d(seen, weight)[:, :, -keep:]"}),
            "the last 2 inputs",
        ),
    ],
}
