"""What the notebooks use to show things; nothing but notebooks imports it.

Clips are ``(C, T, H, W)`` and pictures ``(C, H, W)``, float in [-1, 1] or uint8, C 1 or 3.

    image, grid, strip, compare      still pictures and contact sheets
    player                           a clip under a scrubber, with or without a kernel, and as an animated PNG
    explorer, live_explorer          sliders and menus beside a player
    live                             endless film that is drawn while it plays
    card                             a checkpoint's card as a table
    token_map, outline               a clip with its tokens painted over it, or one of them framed
    style, curves, bars, LivePlot    figures
"""

from vg.show.cards import card
from vg.show.controls import Explorer, explorer, live_explorer
from vg.show.figures import LivePlot, bars, curves, style
from vg.show.live_screen import Live, live
from vg.show.pictures import Picture, compare, grid, image, strip
from vg.show.players import Player, player
from vg.show.tokens import outline, token_map

__all__ = [
    "Explorer",
    "Live",
    "LivePlot",
    "Picture",
    "Player",
    "bars",
    "card",
    "compare",
    "curves",
    "explorer",
    "grid",
    "image",
    "live",
    "live_explorer",
    "outline",
    "player",
    "strip",
    "style",
    "token_map",
]
