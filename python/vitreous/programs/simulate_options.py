"""Options of simulate, and what goes with what."""

from __future__ import annotations

from typing import ClassVar

from vitreous.engine.simulate import ICE_A, NOISES, Microscope, Recipe
from vitreous.engine.simulate_scene import MOST_COVERED, Scene
from vitreous.errors import InputError
from vitreous.model.symmetry import Symmetry
from vitreous.programs.options import Common, ProgramOptions, again, option

# Second and further optics groups differ from the first, so that a program which mixes them up is found out.
LESS_KV = (0.0, 100.0, 180.0)
LEAST_KV = 80.0  # of any microscope
BOX_PX, DIAMETERS_OF_A_BOX = 64, 1.5
PHANTOM_A = 180.0
PER_MICROGRAPH = 50
COVERED = 1 / 6  # of a micrograph, by discs of the least distance, where the number of particles is not given
LAYER_A = 50.0  # steps of the particles' heights in micrographs: each layer of ice takes a transform
# Options that mean something for one kind of output only.
FOR_PARTICLES = ("n", "views", "view_jitter", "shift_std")
FOR_MICROGRAPHS = ("size", "size_y", "min_distance", "overlaps", "ice_gradient", "carbon", "contaminants", "int16")


class Options(ProgramOptions):
    """Particle images or micrographs with known truth."""

    PROGRAM: ClassVar[str] = "simulate"
    SUMMARY: ClassVar[str] = "particle images or micrographs with known truth, from a built-in molecule, a map or atoms"
    EXAMPLES: ClassVar[tuple[str, ...]] = (
        "vitreous simulate --o sim --n 2000 --box 64 --angpix 4 --snr 0.1 --views 8",
        "vitreous simulate --o sim --n 5000 --box 128 --angpix 2 --i emd_1832.map --seed 2",
        "vitreous simulate --o sim --micrographs 10 --size 2048 --angpix 3 --snr 0.05 --sym D2 --carbon 0.2 --contaminants 2",
    )

    source: str | None = option(
        None,
        "density map, white on dark and centred; atoms (PDB or mmCIF); or a STAR file with rlnReferenceImage, and "
        "rlnClassDistribution for the shares, of several states",
        group="input", flag="i", metavar="FILE", unset="the built-in molecule",
    )  # fmt: skip
    map_angpix: float | None = option(None, "voxel of a map", group="input", unit="A", unset="from its header", gt=0)
    assembly: str | None = option(
        None, "biological assembly of atoms, by its name in the file, mostly 1", group="input", metavar="NAME",
        unset="the atoms as the file has them",
    )  # fmt: skip
    atom_bfactor: float | None = option(
        None, "B-factor of all atoms", group="input", unit="A^2", unset="those of the file", ge=0
    )
    sym: str = option("C1", "point group of the built-in molecule", group="input")
    output: str = option(
        "simulated", "folder for the images, their tables and the truth", group="output", flag="o", metavar="FOLDER"
    )
    float16: bool = option(False, "write the images in half precision (mode 12), half the size", group="output")
    int16: bool = option(False, "write the micrographs as whole numbers (mode 1), half the size", group="output")
    verb: int = again(Common, "verb")
    micrographs: int = option(0, "number of micrographs to make in place of particle images", group="basic", ge=0)
    n: int = option(2000, "number of particle images", group="basic", ge=1)
    box: int | None = option(
        None, "side of the particle images, and of the true map; even", group="basic", unit="px", ge=16, le=4096,
        unset=f"{BOX_PX} px; with micrographs {DIAMETERS_OF_A_BOX:g} diameters",
    )  # fmt: skip
    angpix: float = option(4.0, "pixel of the images", group="basic", unit="A", gt=0)
    snr: float = option(
        0.1, "variance of the signal over that of the noise, inside the particle's circle", group="basic", ge=0
    )
    particle_diameter: float | None = option(
        None, "diameter of the circle, and of the built-in molecule", group="basic", unit="A",
        unset="0.7 of the box; in micrographs that of the molecule, or 0.7 of a map's side", gt=0,
    )  # fmt: skip
    size: int = option(4096, "width of the micrographs", group="basic", unit="px", ge=128, le=32768)
    size_y: int | None = option(None, "their height", group="basic", unit="px", unset="--size", ge=128, le=32768)
    particles_per_micrograph: int | None = option(
        None, "particles that share a defocus; of a micrograph, in clear ice", group="basic", ge=1,
        unset=f"{PER_MICROGRAPH}; in micrographs as many as cover a sixth",
    )  # fmt: skip
    min_distance: float | None = option(
        None, "least distance of particles that do not overlap", group="basic", unit="A", unset="--particle_diameter", gt=0
    )
    overlaps: float = option(0.0, "share of the particles that overlap with another one", group="basic", ge=0, le=0.9)
    views: int | None = option(
        None, "number of fixed view directions", group="basic", ge=1, unset="directions spread over the sphere"
    )
    view_jitter: float = option(3.0, "scatter around a fixed view, per axis", group="basic", unit="deg", ge=0)
    shift_std: float = option(8.0, "scatter of the origins, per axis", group="basic", unit="A", ge=0)
    noise: str | None = option(
        None, "white, coloured (more at low frequency) or, in micrographs, ice (coloured with Thon rings)", group="basic",
        unset="white; in micrographs ice",
    )  # fmt: skip
    carbon: float = option(0.0, "share of the micrographs that show a carbon edge", group="basic", ge=0, le=1)
    contaminants: float = option(0.0, "mean number of ice crystals and drops in a micrograph", group="basic", ge=0, le=1000)
    ice_gradient: float = option(
        0.05, "part by which the background changes across a micrograph", group="basic", ge=0, le=0.9
    )
    seed: int = option(1, "seed of all random numbers", group="basic", ge=0)
    optics_groups: int = option(1, "number of optics groups; they differ in voltage", group="expert", ge=1, le=3)
    kV: float = option(
        300.0, "acceleration voltage of the first optics group", group="expert", unit="kV", ge=LEAST_KV, le=1000
    )
    cs: float = option(2.7, "spherical aberration", group="expert", unit="mm", ge=0)
    Q0: float = option(0.1, "amplitude contrast", group="expert", ge=0, lt=1)
    defocus_min: float = option(8000.0, "least underfocus", group="expert", unit="A", gt=0)
    defocus_max: float = option(20000.0, "largest underfocus", group="expert", unit="A", gt=0)
    astigmatism: float = option(300.0, "largest astigmatism, half of U - V", group="expert", unit="A", ge=0)
    ice_thickness: float | None = option(
        None, f"range of the particles' heights; in micrographs they are multiples of {LAYER_A:g} A", group="expert", unit="A",
        unset=f"{ICE_A:g} A; in micrographs 0", ge=0,
    )  # fmt: skip
    phase_shift: float = option(0.0, "phase shift of a phase plate", group="expert", unit="deg")
    bfactor: float = option(0.0, "B-factor of the contrast transfer", group="expert", unit="A^2")
    scale_std: float = option(
        0.0, "scatter of the contrast between micrographs, as a fraction", group="expert", ge=0, le=0.5
    )

    def check(self) -> None:
        """Raise InputError for options that do not go together."""
        Symmetry.parse(self.sym)
        kind, other = ("--micrographs", FOR_PARTICLES) if self.micrographs else ("particle images", FOR_MICROGRAPHS)
        for name in other:
            if self.is_given(name):
                todo = "leave it out" if self.micrographs else "give --micrographs, or leave it out"
                raise InputError(f"--{name}: found with {kind}, expected an option that they have; {todo}")
        if self.noise == NOISES[-1] and not self.micrographs:
            raise InputError(f"--noise {self.noise}: found with particle images, expected {' or '.join(NOISES[:-1])}; give one")
        if self.int16 and self.float16:
            raise InputError("--int16: found with --float16, expected one of them; leave one out")
        for name in ("assembly", "atom_bfactor", "map_angpix") if self.source is None else ():
            if self.is_given(name):
                todo = "give --i, or leave it out"
                raise InputError(f"--{name}: found without atoms or a map, expected --i with them; {todo}")
        if self.defocus_min > self.defocus_max:
            raise InputError(
                f"--defocus_min {self.defocus_min:g}: found more than --defocus_max {self.defocus_max:g}, expected it not to be; "
                "give both"
            )
        least_kV = self.kV - LESS_KV[self.optics_groups - 1]
        if least_kV < LEAST_KV:
            raise InputError(
                f"--optics_groups {self.optics_groups}: found {least_kV:g} kV for the last group, expected {LEAST_KV:g} or more; "
                f"give --kV {self.kV - least_kV + LEAST_KV:g} or more, or fewer groups"
            )
        if self.source and self.is_given("sym"):
            raise InputError(f"--sym {self.sym}: found with --i, expected the built-in molecule; leave one of them out")

    def recipe(self, molecule_A: float = PHANTOM_A, shares: tuple[float, ...] = (1.0,)) -> Recipe:
        """What the engine is to make.

        Parameters
        ----------
        molecule_A : diameter of what is shown, for micrographs
        shares : of the states
        """
        microscopes = tuple(
            Microscope(
                self.kV - less_kV, self.cs, self.Q0, self.defocus_min, self.defocus_max, self.astigmatism, self.phase_shift,
                self.bfactor,
            )
            for less_kV in LESS_KV[: self.optics_groups]
        )  # fmt: skip
        same = {
            "pixel_size_A": self.angpix, "snr": self.snr, "seed": self.seed, "scale_std": self.scale_std,
            "microscopes": microscopes, "shares": shares,
        }  # fmt: skip
        if not self.micrographs:
            return Recipe(
                n=self.n, box=self.box or BOX_PX, views=self.views, view_jitter_deg=self.view_jitter,
                shift_std_A=self.shift_std, particle_diameter_A=self.particle_diameter, noise=self.noise or "white",
                particles_per_micrograph=self.particles_per_micrograph or PER_MICROGRAPH,
                ice_A=ICE_A if self.ice_thickness is None else self.ice_thickness, **same,
            )  # fmt: skip
        diameter_A = self.particle_diameter or molecule_A
        box = self.box or max(2 * round(DIAMETERS_OF_A_BOX * diameter_A / self.angpix / 2), 16)
        scene = self.scene(diameter_A)
        per = self.particles_per_micrograph or max(round(scene.most_particles * COVERED / MOST_COVERED), 1)
        return Recipe(
            n=self.micrographs * per, box=box, shift_std_A=0.0, particle_diameter_A=diameter_A,
            noise=self.noise or NOISES[-1], particles_per_micrograph=per, ice_A=self.ice_thickness or 0.0, layer_A=LAYER_A,
            **same,
        )  # fmt: skip

    def scene(self, diameter_A: float) -> Scene:
        """What micrographs show besides particles of this diameter."""
        return Scene(
            (self.size_y or self.size, self.size), self.angpix, self.min_distance or diameter_A, self.overlaps,
            self.ice_gradient, self.carbon, self.contaminants,
        )  # fmt: skip
