// Decoders of file formats. A module of its own: io/ must not load the BLAS of _cpu before the backend has chosen its
// kernels, and reading a file needs no more of a CPU than the baseline.
#include "bind/bind_star.hpp"

PYBIND11_MODULE(_io, m) {
  vitreous::bind_star(m);
  m.attr("version") = VITREOUS_VERSION;  // of pyproject.toml: asking the installation for it takes 40 ms
}
