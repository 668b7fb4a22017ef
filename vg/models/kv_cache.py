"""What generation keeps of the positions so far: keys and values of each layer, and the state of a whole prior."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from vg.models.blocks import Past


class KVCache:
    """Keys and values of the positions so far, with room to grow: adding one does not copy all the others.

    Args:
        window: keep so many positions at least; older ones may be dropped. None keeps all.
    """

    def __init__(self, window: int | None = None):
        self.window, self.length = window, 0
        self.room: Tensor | None = None  # (2, B, N, room, D / N): the order in which attention reads

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add (B, L, N, D / N) each; returns all that are kept, oldest first, in the same layout."""
        new = torch.stack([k, v]).transpose(2, 3)  # (2, B, N, L, D / N)
        added = new.shape[3]
        if self.room is None or self.length + added > self.room.shape[3]:
            kept = self.length if self.window is None else min(self.length, self.window)
            old = new[:, :, :, :0] if self.room is None else self.room[:, :, :, self.length - kept : self.length]
            spare = new.new_empty(*new.shape[:3], kept + added + 128, new.shape[4])
            self.room = torch.cat([old, spare], dim=3)
            self.length = kept
        self.room[:, :, :, self.length : self.length + added] = new
        self.length += added
        first = 0 if self.window is None else max(0, self.length - self.window - added + 1)
        keys, values = self.room[:, :, :, first : self.length].transpose(2, 3)
        return keys, values


@dataclass
class DecodeState:
    """What generation keeps from one call to the next. Made empty, filled by ``Prior.advance``.

    Attributes:
        digits: (B, L, digits), the tokens so far.
        kv_caches: what each layer keeps of the positions so far.
        past: what the context network remembers.
        seen: (B, L, D), the context of every token so far and of the latent frame that is being made.
    """

    digits: Tensor | None = None
    kv_caches: dict[int, KVCache] = field(default_factory=dict)
    past: Past = field(default_factory=dict)
    seen: Tensor | None = None
