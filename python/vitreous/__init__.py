"""One engine for single-particle cryo-EM and cryo-ET that speaks RELION's files and flags.

Programs are functions here: ``from vitreous import class2d; class2d(i="particles.star", o="Class2D/run", K=50)``.
"""

from __future__ import annotations

from typing import Any

from vitreous._io import version as __version__

__all__ = ["__version__", "class2d"]


def class2d(**options: Any):
    """2D classification; options by their flag names, as on the command line.

    Returns
    -------
    programs.class2d.Result: classes (K, box, box), particles, model, dataset, root, report

    Raises  errors.InputError: an option or a file is not as expected, in one line.
    """
    from vitreous.cli import call

    return call("class2d", **options)
