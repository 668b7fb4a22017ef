"""Wrong tries at the tasks of notebook 08, and words of what their readers should be told."""

LOOP = """
def decode(prior, digits, count, choose):
    state = DecodeState()
    fresh = digits if digits.shape[1] else None
    for _ in range(count):
        hidden = prior.advance(state, fresh)
        fresh = prior.head.sample(hidden, choose)[:, None]
        digits = torch.cat([digits, fresh], dim=1)
    return digits
"""
CUT = """
def cut_tail(logits, temperature=1.0, top_k=None, top_p=None):
    logits = logits / temperature
    order = logits.argsort(descending=True)
    share = logits.softmax(-1)[order]
    kept = torch.ones_like(order, dtype=torch.bool)
    if top_k is not None:
        kept[top_k:] = False
    if top_p is not None:
        kept &= share.cumsum(-1) - share < top_p
    return logits.index_fill(0, order[~kept], -math.inf)
"""
STEP = """
def attend(q, k, v, cache):
    cache.append((k, v))
    keys = torch.stack([key for key, _ in cache])
    values = torch.stack([value for _, value in cache])
    weights = (keys @ q / math.sqrt(len(q))).softmax(0)
    return weights @ values
"""
PUT = "    cache.append((k, v))\n"


def guide(result: str) -> str:
    return f"def guide(with_label, without, guidance):\n    {result}"


MISTAKES = {
    "cut_tail": [
        (CUT.replace("    return logits", "    logits"), "Is there a return"),
        (CUT.replace("-math.inf", "0.0"), "Use -math.inf"),
        (CUT.replace("cumsum(-1) - share <", "cumsum(-1) <="), "the value that crosses the line stays"),
        (CUT.replace("logits / temperature", "logits * temperature"), "divide logits"),
        (CUT.replace("logits / temperature", "logits.softmax(-1) / temperature"), "divide logits"),
        (CUT.replace("kept[top_k:] = False", "kept[:-top_k] = False"), "expected ["),
        (
            CUT.replace("share = logits.softmax", "share = (logits * temperature).softmax"),
            "after the temperature",
        ),
    ],
    "attend": [
        (STEP.replace("    return weights @ values", "    weights @ values"), "Is there a return"),
        (STEP.replace(" / math.sqrt(len(q))", ""), "root of d"),
        (STEP.replace(PUT, ""), "Append first"),
        (STEP.replace(PUT, "    cache[:] = [(k, v)]\n"), "append one a step"),
        (STEP.replace("(keys @ q / math.sqrt(len(q))).softmax(0)", "torch.ones(len(keys)) / len(keys)"), "equal"),
        (STEP.replace("weights @ values", "weights @ keys"), "another vector"),
    ],
    "decode": [
        (LOOP.replace("    return digits", "    pass"), "the prompt's and the new ones"),
        (LOOP.replace("    return digits", "    return digits[:, -count:]"), "the prompt's and the new ones"),
        (LOOP.replace("advance(state, fresh)", "advance(DecodeState(), fresh)"), "make one before the loop"),
        (LOOP.replace("dim=1)", "dim=1)\n        fresh = digits"), "read only the newest"),
        (LOOP.replace("[:, None]", ""), "Is fresh (1, n, digits) or None"),
        (
            LOOP.replace("dim=1)", "dim=1)\n        fresh = digits[:, :1]"),
            "feed the token just drawn",
        ),
    ],
    "guide": [
        (guide("pass"), "Is there a return"),
        (guide("return with_label + guidance * (without - with_label)"), "turned round"),
        (guide("return with_label + guidance * (with_label - without)"), "one step too far"),
        (
            guide("p, q = with_label.softmax(-1), without.softmax(-1)\n    return q + guidance * (p - q)"),
            "these are probabilities",
        ),
        (guide("return guidance * with_label"), "other logits"),
    ],
}
