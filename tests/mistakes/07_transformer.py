"""Wrong answers to the tasks of notebook 07, and words of what their graders say."""

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


def but(right: str, *changes: tuple[str, str]) -> str:
    """A right answer, spoiled."""
    for old, new in changes:
        assert old in right, f"{old!r} is not in the answer"
        right = right.replace(old, new)
    return right


MISTAKES = {
    "causal_attention": [
        (but(ATTENTION, (".masked_fill(future, -math.inf)", "")), "-inf where j > i"),
        (but(ATTENTION, (".triu(1)", ".triu(0)")), "so triu(1)"),
        (but(ATTENTION, (".softmax(dim=-1)", ".softmax(dim=-2)")), "do not add up to 1"),
        (but(ATTENTION, (".masked_fill(future, -math.inf).softmax(dim=-1)", ".softmax(-1).tril()")), "add up to 1"),
        (but(ATTENTION, (" + bias", "")), "the bias is missing"),
        (but(ATTENTION, (" / math.sqrt(q.shape[-1])", "")), "not divided by the root"),
        (but(ATTENTION, ("q.shape[-1]", "q.shape[2]")), "D is the last axis"),
        (
            but(
                ATTENTION,
                (" / math.sqrt(q.shape[-1]) + bias", " + bias) / math.sqrt(q.shape[-1])"),
                ("scores = ", "scores = ("),
            ),
            "the bias is divided too",
        ),
        (but(ATTENTION, ('"bnij,bjnd->bind"', '"bnji,bjnd->bind"')), "out sums v over j"),
        (but(ATTENTION, (", weights\n", "\n")), "expected 2 tensor(s), got 1"),
        (but(ATTENTION, ("->bind", "->bnid")), "the shapes are"),
        (but(ATTENTION, ("return ", "")), "Is there a return?"),
    ],
    "alibi": [
        (but(ALIBI, ("(n + 1)", "n")), "head 0 has n + 1 = 1"),
        (but(ALIBI, ("= -slopes", "= slopes")), "a far key gains"),
        (but(ALIBI, (".masked_fill(distance < 0, -math.inf)", "")), "sees its future"),
        (but(ALIBI, ("torch.arange(L)[:, None] - torch.arange(L)", "torch.arange(L)")), "the shapes are"),
        (but(ALIBI, ("* distance", "* distance**2")), "three back head 0 has -4.50, expected"),
        (but(ALIBI, ("slopes[:, None, None]", "slopes")), "slopes[:, None, None] is (N, 1, 1)"),
        (
            but(ALIBI, ("arange(L)[:, None] - torch.arange(L)", "arange(L) - torch.arange(L)[:, None]")),
            "rows and columns",
        ),
        (but(ALIBI, ("return slopes, ", "return ")), "expected 2 tensor(s), got 1"),
        (but(ALIBI, ("return ", "")), "Is there a return?"),
    ],
    "absorb": [
        (but(ABSORB, ("total * shrink", "total")), "shrink the old sum"),
        (but(ABSORB, ("out * shrink", "out")), "shrink the old out as well"),
        (but(ABSORB, ("torch.maximum(top, scores.amax(-1, keepdim=True))", "scores.amax(-1, keepdim=True)")), "top is"),
        (but(ABSORB, ("scores.amax(-1, keepdim=True))", "scores.amax(-1))")), "keepdim=True keeps the last axis"),
        (but(ABSORB, ("values\n", "values / total\n")), "divide nothing"),
        (but(ABSORB, ("(top - new)", "(new - top)")), "e^(top - new) is 0"),
        (but(ABSORB, ("(scores - new).exp()", "scores.exp()")), "take the new maximum off"),
        (but(ABSORB, ("return ", "")), "Is there a return?"),
    ],
    "digit_bits": [
        (but(BITS, (" / math.log(2)", "")), "these are nats"),
        (but(BITS, (CHAINED, "            pass")), "each digit is predicted alone"),
        (but(BITS, ("return total", "return total / 3")), "mean over digits"),
        (but(BITS, ("        if i + 1 < len(head.logits):\n    ", "")), "the last digit has no table"),
        (but(BITS, ("return total", "return total.mean()")), "One number a token"),
        (but(BITS, ("tables[i](digits[:, i])", "tables[0](digits[:, 0])")), "of no other digit"),
        (but(BITS, ("return ", "")), "Is there a return?"),
    ],
}
