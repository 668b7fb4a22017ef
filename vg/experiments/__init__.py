"""An experiment is a value that one function trains: ``train(Experiment(data=FilmData(film=("my.mp4",))))``.

``registry`` has the shipped ones by name; ``batches`` and ``losses`` are what they and the notebooks train with.
"""

from vg.experiments.config import Experiment, FilmData, ImageExperiment, Sampling
from vg.experiments.experiment import train
from vg.experiments.registry import REGISTRY

__all__ = ["REGISTRY", "Experiment", "FilmData", "ImageExperiment", "Sampling", "train"]
