"""Wrong answers to the tasks of notebook 07, and words of what their graders say."""

from spoiled import but

ATTENTION = """\
def causal_attention(q, k, v, bias=0.0):
    L = q.shape[1]
    scores = torch.einsum("bind,bjnd->bnij", q, k) / math.sqrt(q.shape[-1]) + bias
    future = torch.ones(L, L, dtype=torch.bool).triu(1)
    weights = scores.masked_fill(future, -math.inf).softmax(dim=-1)
    return torch.einsum("bnij,bjnd->bind", weights, v), weights
"""
ALIBI = """\
def alibi(N, L):
    slopes = torch.tensor([2 ** (-8 * (n + 1) / N) for n in range(N)])
    distance = torch.arange(L)[:, None] - torch.arange(L)
    bias = -slopes[:, None, None] * distance
    return slopes, bias.masked_fill(distance < 0, -math.inf)
"""
ABSORB = """\
def absorb(top, total, out, scores, values):
    new = torch.maximum(top, scores.amax(-1, keepdim=True))
    shrink, weights = (top - new).exp(), (scores - new).exp()
    total = total * shrink + weights.sum(-1, keepdim=True)
    return new, total, out * shrink + weights @ values
"""
BITS = """\
def digit_bits(head, states, digits):
    total = 0
    for i, logits in enumerate(head.logits):
        nats = F.cross_entropy(logits(states), digits[:, i], reduction="none")
        total = total + nats / math.log(2)
        if i + 1 < len(head.logits):
            states = states + head.known.tables[i](digits[:, i])
    return total
"""
CHAINED = "            states = states + head.known.tables[i](digits[:, i])"


SCALED = " / math.sqrt(q.shape[-1])"
MISTAKES = {
    "causal_attention": [
        (but(ATTENTION, (".masked_fill(future, -math.inf)", "")), "-inf where j > i"),
        (but(ATTENTION, (".triu(1)", ".triu(0)")), "so triu(1)"),
        (but(ATTENTION, (".softmax(dim=-1)", ".softmax(dim=-2)")), "do not add up to 1 over j"),
        (but(ATTENTION, (".softmax(dim=-1)", ".softmax(dim=1)")), "not over heads"),
        (but(ATTENTION, (".masked_fill(future, -math.inf).softmax(dim=-1)", ".softmax(-1).tril()")), "add up to 1"),
        (
            but(ATTENTION, ("scores.masked_fill(future, -math.inf)", "(scores - math.inf * future)")),
            "0 * inf is nan",
        ),
        (but(ATTENTION, ("v), weights", "v), scores")), "the second thing returned is the scores"),
        (
            but(ATTENTION, ("v), weights", "v), scores.masked_fill(future, -math.inf)")),
            "the second thing returned is the scores",
        ),
        (but(ATTENTION, (" + bias", "")), "0.000 bias"),
        (but(ATTENTION, (" + bias", " - bias")), "0.333 q . k + -1.000 bias"),
        (but(ATTENTION, (SCALED, "")), "about 1.000 q . k + 1.000 bias"),
        (but(ATTENTION, ("q.shape[-1]", "q.shape[2]")), "about 0.500 q . k"),
        (but(ATTENTION, ("q.shape[-1]", "L")), "about 0.378 q . k"),
        (but(ATTENTION, ("q.shape[-1]", "q.shape[-1] * q.shape[2]")), "about 0.167 q . k"),
        (but(ATTENTION, (SCALED, " / q.shape[-1]")), "about 0.111 q . k"),
        (but(ATTENTION, (SCALED, " * math.sqrt(q.shape[-1])")), "about 3.000 q . k"),
        (
            but(ATTENTION, (SCALED + " + bias", " + bias)" + SCALED), ("scores = ", "scores = (")),
            "about 0.333 q . k + 0.333 bias",
        ),
        (but(ATTENTION, ('"bind,bjnd->bnij"', '"bjnd,bind->bnij"')), "q and k are exchanged"),
        (but(ATTENTION, ('"bnij,bjnd->bind"', '"bnji,bjnd->bind"')), "out sums v over j"),
        (but(ATTENTION, ("weights, v)", "weights, k)")), "out sums v over j"),
        (but(ATTENTION, ("    scores", "    q /= 3\n    scores"), (SCALED, "")), "it changes its inputs"),
        (but(ATTENTION, ("+ bias", "+ bias.unsqueeze(0)")), "bias may be a number"),
        (but(ATTENTION, (", weights\n", "\n")), "expected 2 tensor(s), in this order"),
        (but(ATTENTION, ("->bind", "->bnid")), "it gives [(2, 4, 7, 9)"),
        (but(ATTENTION, ("return ", "")), "Is there a return?"),
    ],
    "alibi": [
        (but(ALIBI, ("(n + 1)", "n")), "slope 0: 1.000, not 2^(-8 (0 + 1) / 8)"),
        (but(ALIBI, ("-8 * (n + 1) / N", "-(n + 1)")), "slope 0: 0.500, not 2^(-8 (0 + 1) / 4)"),
        (but(ALIBI, ("range(N)])", "range(N)]).flip(0)")), "slope 0: 0.004"),
        (but(ALIBI, ("2 ** (-8", "math.exp(-8")), "slope 0: 0.368"),
        (but(ALIBI, ("= -slopes", "= slopes")), "a far key gains"),
        (but(ALIBI, (".masked_fill(distance < 0, -math.inf)", "")), "sees its future"),
        (but(ALIBI, ("distance < 0", "distance <= 0")), "a query must see itself"),
        (
            but(ALIBI, ("bias.masked_fill(distance < 0, -math.inf)", "bias + (distance < 0) * -math.inf")),
            "0 * inf is nan",
        ),
        (but(ALIBI, ("torch.arange(L)[:, None] - torch.arange(L)", "torch.arange(L)")), "it gives [(8,), "),
        (but(ALIBI, ("* distance", "* distance**2")), "3 back, head 0: -4.50, not -0.5 * 3"),
        (but(ALIBI, ("slopes[:, None, None]", "slopes")), "slopes[:, None, None] is (N, 1, 1)"),
        (
            but(ALIBI, ("arange(L)[:, None] - torch.arange(L)", "arange(L) - torch.arange(L)[:, None]")),
            "rows and columns",
        ),
        (but(ALIBI, ("return slopes", "return slopes.tolist()")), "it gives [('[0.5, 0.2',)"),
        (but(ALIBI, ("return slopes, ", "return ")), "expected 2 tensor(s), in this order"),
        (but(ALIBI, ("return ", "")), "Is there a return?"),
    ],
    "absorb": [
        (but(ABSORB, ("total * shrink", "total")), "block 2 of 3: total is not sum e^(scores - new) + e^(top - new)"),
        (but(ABSORB, ("out * shrink", "out")), "block 2 of 3: out is not weights @ values + e^(top - new)"),
        (but(ABSORB, ("torch.maximum(top, scores.amax(-1, keepdim=True))", "scores.amax(-1, keepdim=True)")), "top is"),
        (but(ABSORB, ("scores.amax(-1, keepdim=True))", "scores.amax(-1))")), "keeps the last axis"),
        (but(ABSORB, ("torch.maximum(", "max(")), "torch.maximum compares"),
        (but(ABSORB, (".amax(", ".max(")), "is the maximum"),
        (but(ABSORB, ("values\n", "values / total\n")), "divide nothing"),
        (
            but(ABSORB, ("(top - new)", "(new - top)")),
            "block 1 of 3: total is not sum e^(scores - new) + e^(top - new)",
        ),
        (but(ABSORB, ("(scores - new).exp()", "scores.exp()")), "total is not sum e^(scores - new)"),
        (but(ABSORB, ("(scores - new)", "(scores - top)")), "total is not sum e^(scores - new)"),
        (but(ABSORB, ("weights.sum(-1, keepdim=True)", "weights.sum(-1, keepdim=True) * shrink")), "* the old one"),
        (but(ABSORB, ("(scores - new).exp()", "scores.softmax(-1)")), "no softmax"),
        (but(ABSORB, ("weights.sum(", "weights.mean(")), "no mean"),
        (
            but(ABSORB, ("total = total * shrink + ", "total *= shrink\n    total += ")),
            "it changes its inputs: make new tensors",
        ),
        (but(ABSORB, ("return ", "")), "Is there a return?"),
    ],
    "digit_bits": [
        (but(BITS, (" / math.log(2)", "")), "these are nats"),
        (but(BITS, (" / math.log(2)", " * math.log(2)")), "divide by ln 2, once"),
        (but(BITS, ("return total", "return -total")), "bits are positive"),
        (but(BITS, (CHAINED, "            pass")), "each digit is predicted alone"),
        (but(BITS, (CHAINED, "            pass"), (" / math.log(2)", "")), "to the state; these are nats"),
        (
            but(
                BITS,
                ("logits(states)", "logits(s)"),
                ("states = states", "s = states"),
                ("    total = 0", "    total, s = 0, states"),
            ),
            "digit 2 does not see digit 0",
        ),
        (but(BITS, ("states = states + ", "states = ")), "replaces the state"),
        (but(BITS, ("    return total", "        return total")), "only digit 0"),
        (but(BITS, ("enumerate(head.logits)", "enumerate(head.logits[:2])")), "the last digit is not counted"),
        (but(BITS, ("logits(states)", "logits(states).softmax(-1)")), "no softmax"),
        (but(BITS, ("return total", "return total / 3")), "mean over digits"),
        (but(BITS, ("        if i + 1 < len(head.logits):\n    ", "")), "the last digit has no table"),
        (but(BITS, ("return total", "return total.mean()")), "One number a token"),
        (but(BITS, ("tables[i](digits[:, i])", "tables[0](digits[:, 0])")), "add tables[i] of digit i to s"),
        (but(BITS, ("states = states + ", "states += ")), "it changes its inputs"),
        (but(BITS, ("return ", "")), "Is there a return?"),
    ],
}
