"""Pixels as floats, as bytes, at another size, as Pillow's images: what every picture that is written goes through."""

import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor

ALIKE = 1.05  # shapes whose aspects differ by less are alike: nobody sees it when one is squeezed to the other

# RGB to Y, Cb, Cr: ITU-R BT.601-7, section 2.5; Cb and Cr are (B - Y) / 1.772 and (R - Y) / 1.402.
YCBCR = ((0.299, 0.587, 0.114), (-0.299 / 1.772, -0.587 / 1.772, 0.5), (0.5, -0.587 / 1.402, -0.114 / 1.402))


def to_unit(frames: Tensor) -> Tensor:
    """uint8 (..., T, C, H, W) -> float (..., C, T, H, W) in [-1, 1]."""
    return frames.float().div(127.5).sub(1).movedim(-4, -3)


def to_uint8(clip: Tensor) -> Tensor:
    """float (..., C, T, H, W) in [-1, 1] -> uint8 (..., T, C, H, W), rounded; values beyond the range are clipped.

    Half precision is computed in single: bfloat16 has no more than eight bits, and 127.5 times it would be off by one.
    """
    return clip.float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).movedim(-3, -4)


def covering(shape: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """The height and width to bring a picture to, so that its ``middle`` of ``size`` can be taken.

    Example:
        >>> covering((480, 720), (128, 128))
        (128, 192)
        >>> covering((480, 576), (128, 152))  # alike: squeezed
        (128, 152)
    """
    (H, W), (h, w) = shape, size
    if 1 / ALIKE < (W * h) / (H * w) < ALIKE:
        return size
    scale = max(h / H, w / W)
    return max(h, round(H * scale)), max(w, round(W * scale))


def middle(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """The middle (..., h, w) of pictures (..., H, W) at least so large."""
    top, left = ((whole - part) // 2 for whole, part in zip(frames.shape[-2:], size))
    return frames[..., top : top + size[0], left : left + size[1]]


def turn_hue(video: Tensor, angle: float) -> Tensor:
    """Colours (C, ...) in [-1, 1], C = 3, turned round the colour circle by ``angle`` in radians; brightness stays.

    The circle is that of Cb and Cr. What leaves the range is clipped, so that brightness is then not quite the same.
    """
    turn = torch.eye(3).to(video)
    turn[1:, 1:] = video.new_tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    basis = video.new_tensor(YCBCR)
    return torch.einsum("ij,j...->i...", torch.linalg.inv(basis) @ turn @ basis, video).clamp(-1, 1)


def to_pil(frame: np.ndarray) -> Image.Image:
    """(H, W, 1 or 3) uint8 as a Pillow image, mode L or RGB."""
    return Image.fromarray(np.ascontiguousarray(frame[..., 0] if frame.shape[-1] == 1 else frame))


def resize(frame: np.ndarray, scale: float, smooth: bool = False) -> np.ndarray:
    """Scale one frame (H, W, C) uint8: nearest pixel (or Lanczos if ``smooth``) up, box average down."""
    if scale == 1:
        return frame
    height, width = (max(1, round(side * scale)) for side in frame.shape[:2])
    if scale > 1 and not smooth and scale == int(scale):
        return frame.repeat(int(scale), axis=0).repeat(int(scale), axis=1)
    how = Image.Resampling.BOX if scale < 1 else Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST
    return np.asarray(to_pil(frame).resize((width, height), how)).reshape(height, width, -1)
