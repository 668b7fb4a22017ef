"""ALiBi: a bias on attention scores that grows with distance, in place of position embeddings."""

import torch
from torch import Tensor


def alibi_slopes(heads: int) -> Tensor:
    """Slopes of ALiBi, one a head (Press et al., 2022, arXiv:2108.12409, section 3).

    For ``heads`` a power of two, head ``i`` gets ``2 ** (-8 (i + 1) / heads)``. Otherwise: the slopes of the
    largest power of two below ``heads``, then every second slope of twice that power.

    Args:
        heads: number of heads N, at least 1.

    Returns:
        ``(N,)`` fp32 on the CPU, each in (0, 1).

    Raises:
        ValueError: if ``heads`` is below 1.
    """
    if heads < 1:
        raise ValueError(f"alibi_slopes: heads is {heads}; attention needs at least one head.")
    power = 1 << (heads.bit_length() - 1)  # the largest power of two up to heads
    slopes = _geometric(power) + _geometric(2 * power)[::2][: heads - power]
    return torch.tensor(slopes, dtype=torch.float32)


def two_scale_slopes(heads: int, frame: int, multiplier: float = 1.0) -> Tensor:
    """Slopes for tokens of a video: half of the heads look along a frame, half along time.

    In the flattened ``(t, h, w)`` order the same place one latent frame back lies ``h * w`` positions away.
    With plain slopes a steep head has faded long before it gets there (slope 1/4, 64 tokens a frame: a
    factor of ``e ** -16``). So the first half of the heads gets the plain slopes of ``N / 2`` heads, and
    the second half the same slopes divided by ``frame``: one latent frame is to them what one token is to
    the first half.

    Args:
        heads: number of heads N, even.
        frame: tokens in a latent frame, ``h * w``, at least 1.
        multiplier: the second half is multiplied by this, above 0. Above 1 these heads fade faster in time.

    Returns:
        ``(N,)`` fp32 on the CPU, above 0.

    Raises:
        ValueError: if ``heads`` is odd or below 2, ``frame`` below 1, or ``multiplier`` not above 0.
    """
    if heads < 2 or heads % 2:
        raise ValueError(f"two_scale_slopes: heads is {heads}, but it is split in two halves: give an even number.")
    if frame < 1:
        raise ValueError(f"two_scale_slopes: frame is {frame}; it is the number of tokens h * w, at least 1.")
    if not multiplier > 0:
        raise ValueError(f"two_scale_slopes: multiplier is {multiplier}; a slope must stay above 0.")
    near = alibi_slopes(heads // 2)
    return torch.cat([near, near * (multiplier / frame)])


def alibi_bias(slopes: Tensor, Lq: int, Lk: int, window: int | None = None) -> Tensor:
    """What is added to the scores: ``-slope * distance`` in the past, ``-inf`` where a query may not look.

    Query ``i`` stands at position ``i + Lk - Lq``; its distance to key ``j`` is ``i + Lk - Lq - j``.

    Args:
        slopes: ``(N,)``, from :func:`alibi_slopes` or :func:`two_scale_slopes`.
        Lq: number of queries, 1 to ``Lk``.
        Lk: number of keys.
        window: if given, a query sees itself and the ``window - 1`` positions before it, no more.

    Returns:
        ``(N, Lq, Lk)`` fp32 on the device of ``slopes``; a new tensor, yours to change.

    Raises:
        ValueError: if there are more queries than keys, or ``window`` is below 1.
    """
    check_lengths(Lq, Lk, window)
    distance = _distance(Lq, Lk, slopes.device)  # (Lq, Lk)
    hidden = distance < 0
    if window is not None:
        hidden = hidden | (distance >= window)
    bias = -slopes.float()[:, None, None] * distance  # (N, Lq, Lk)
    return bias.masked_fill(hidden, float("-inf"))


def _distance(Lq: int, Lk: int, device: torch.device) -> Tensor:
    """``(Lq, Lk)`` int64: how far key j lies before query i; negative in the future."""
    i = torch.arange(Lk - Lq, Lk, device=device)
    j = torch.arange(Lk, device=device)
    return i[:, None] - j[None, :]


def _geometric(heads: int) -> list[float]:
    return [2.0 ** (-8.0 * (i + 1) / heads) for i in range(heads)]


def check_lengths(Lq: int, Lk: int, window: int | None) -> None:
    if not 1 <= Lq <= Lk:
        raise ValueError(
            f"attention: {Lq} queries for {Lk} keys; queries are the last of the positions, so 1 <= Lq <= Lk."
        )
    if window is not None and window < 1:
        raise ValueError(f"attention: window is {window}; a query sees at least itself: give 1 or more, or None.")
