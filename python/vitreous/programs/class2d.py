"""2D classification by expectation-maximisation: particles in, class averages and tables out."""

from __future__ import annotations

from vitreous.programs.class2d_options import Options

__all__ = ["Options", "run"]


def run(options: Options, be, comm):
    """PLACEHOLDER, to be replaced by the program; it shows how options, log, progress and requests to stop reach it.

    with open_job(options, comm, backend=be.name) as job:
        options = options.derive("from the clock", random_seed=...)
        record_options(job, options)
        for iteration in ...:
            job.check_abort()
            with job.progress.bar(expectation_title(iteration, options.iter), n_particles) as bar:
                ...; bar.advance(n_batch)
            job.log.event("iteration", iteration=iteration, ...)
    """
    raise NotImplementedError("vitreous class2d is not built yet")
