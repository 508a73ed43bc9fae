"""One engine for single-particle cryo-EM and cryo-ET that speaks RELION's files and flags."""

from importlib.metadata import version as _version

__version__ = _version("vitreous")
