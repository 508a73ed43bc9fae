// Formulas of math/ that the model layer needs as tables; host only, so both modules bind them without a device.
#pragma once
#include "bind/array.hpp"
#include "vitreous/math/ctf.hpp"
#include "vitreous/math/healpix.hpp"

namespace vitreous {
inline void bind_math(py::module_& m) {
  m.def("electron_wavelength_A", [](double voltage_kV) { return electron_wavelength_A(voltage_kV); });
  // out (12 4^order, 2): z, phi in rad
  m.def("healpix_directions", [](int order, py::object out) {
    const auto o = view<Cpu, double, 2>(out, "out");
    py::gil_scoped_release nogil;
    for (idx i = 0; i < o.shape[0]; ++i) {
      const Direction d = healpix_centre(order, i);
      o.row(i)[0] = d.z;
      o.row(i)[1] = d.phi;
    }
  });
}
}  // namespace vitreous
