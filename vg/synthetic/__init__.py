"""Pictures that are drawn here, by seed, without end: a cartoon (``cartoon``) and small drawings (``drawings``).

They stand in for the film and for CIFAR-10 where there is no network, and in tests.
"""

from vg.synthetic.cartoon import Cartoon, draw_cartoon

__all__ = ["Cartoon", "draw_cartoon"]
