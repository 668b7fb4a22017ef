"""Wrong cells that readers of notebook 04 are likely to write, and words of what they are told."""

CURVE = """
def bound(z, levels):
    count = torch.tensor(levels)
    half = {half}
    offset = {offset}
    {end}
"""
RIGHT = dict(
    half="1.001 * (count - 1) / 2",
    offset="torch.where(count % 2 == 0, 0.5, 0.0)",
    end="return half * torch.tanh(z + torch.atanh(offset / half)) - offset",
)
FSQ = """
def quantize(z, levels):
    y = bound(z, levels)
    rounded = {rounded}
    width = torch.tensor(levels) // 2
    worth = {worth}
    digits = {digits}
    return {result}
"""
WHOLE = dict(
    rounded="y + (y.round() - y).detach()",
    worth="torch.cumprod(torch.tensor([1, *levels[:-1]]), 0)",
    digits="rounded.detach().round().long() + width",
    result="rounded / width, (digits * worth).sum(-1)",
)
USE = """
def use(indices, size):
    share = torch.bincount(indices.flatten(), minlength=size) / indices.numel()
    share = {share}
    entropy = -(share * share.{log}()).sum()
    return {result}
"""
COUNTED = dict(share="share[share > 0]", log="log2", result="len(share) / size, float(2**entropy)")
MISTAKES = {
    "bound": [
        (CURVE.format(**RIGHT | {"end": "y = half * torch.tanh(z) - offset"}), "is there a return"),
        (CURVE.format(**RIGHT | {"offset": "torch.zeros(len(levels))"}), "An even number needs its offset"),
        (CURVE.format(**RIGHT | {"end": "return half * torch.tanh(z) - offset"}), "the shift goes inside tanh"),
        (CURVE.format(**RIGHT | {"half": "count / 2 * 1.01"}), "The half is that of L - 1"),
        (
            CURVE.format(**RIGHT | {"end": "return half * torch.tanh(z - torch.atanh(offset / half)) + offset"}),
            "The offset is taken off",
        ),
        (CURVE.format(**RIGHT | {"end": "return (half * torch.tanh(z) - offset).sum(-1)"}), "the same shape"),
        (
            CURVE.format(**RIGHT | {"end": "return (z + offset).clamp(-half, half) - offset"}),
            "the borders are not where",
        ),
    ],
    "quantize": [
        (FSQ.format(**WHOLE | {"result": "rounded / width"}), "it should be two tensors"),
        (FSQ.format(**WHOLE | {"result": "rounded, (digits * worth).sum(-1)"}), "divide by L // 2"),
        (FSQ.format(**WHOLE | {"rounded": "y.round()"}), "values right, gradient wrong"),
        (FSQ.format(**WHOLE | {"rounded": "y.round().detach()"}), "the codes have no gradient"),
        (FSQ.format(**WHOLE | {"digits": "rounded.detach().round().long()"}), "digits count from 0"),
        (
            FSQ.format(**WHOLE | {"worth": "torch.cumprod(torch.tensor([1, *levels[:0:-1]]), 0).flip(0)"}),
            "the first digit is worth 1",
        ),
        (FSQ.format(**WHOLE | {"digits": "rounded.detach() + width"}), ".round().long()"),
        (FSQ.format(**WHOLE | {"rounded": "y"}), "are they rounded"),
        (FSQ.format(**WHOLE | {"result": "rounded / width, digits * worth"}), "expected (500, 4) and (500,)"),
    ],
    "use": [
        (USE.format(**COUNTED | {"result": "None"}), "it should be two numbers"),
        (USE.format(**COUNTED | {"share": "share"}), "usage 0.5"),
        (
            USE.format(**COUNTED | {"share": "share", "result": "float((share > 0).sum()) / size, float(2**entropy)"}),
            "leave them out",
        ),
        (USE.format(**COUNTED | {"result": "len(share) / size, float(entropy)"}), "that is the entropy"),
        (USE.format(**COUNTED | {"log": "log"}), "log2 goes with 2"),
        (
            USE.format(**COUNTED | {"result": "len(share) / size, float(len(share))"}),
            "weight each log by its share",
        ),
    ],
}
