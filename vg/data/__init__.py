"""Where pixels come from: sources, frame stores, shots, clips, writers. Frames are uint8 in here only."""

from vg.data.cifar import cifar10
from vg.data.clips import Clips
from vg.data.decode import BadVideo
from vg.data.film_traits import Traits, size_of, traits
from vg.data.images import Images, ImageSet, image_drawings, image_folder
from vg.data.pixels import to_uint8, to_unit
from vg.data.restoration import Restoration, restore
from vg.data.several import joined, split_films, videos
from vg.data.shots import Shot, Split, find_shots, seconds_needed, split_shots
from vg.data.sources import Source, drawn_cartoon, film, video
from vg.data.stills import BadImages
from vg.data.store import FrameStore, open_store, open_stores
from vg.data.writers import save

__all__ = [
    "BadImages",
    "BadVideo",
    "Clips",
    "FrameStore",
    "ImageSet",
    "Images",
    "Restoration",
    "Shot",
    "Source",
    "Split",
    "Traits",
    "cifar10",
    "drawn_cartoon",
    "film",
    "find_shots",
    "image_drawings",
    "image_folder",
    "joined",
    "open_store",
    "open_stores",
    "restore",
    "save",
    "seconds_needed",
    "size_of",
    "split_films",
    "split_shots",
    "to_uint8",
    "to_unit",
    "traits",
    "video",
    "videos",
]
