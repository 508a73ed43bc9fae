// The host module: built once per instruction set under the names _cpu and _cpu_avx512, with one function table.
#include <cblas.h>
#include <omp.h>

#include "bind/bind_shift_phases.hpp"

PYBIND11_MODULE(VITREOUS_MODULE, m) {
  using namespace vitreous;
  scipy_openblas_set_num_threads(1);  // one product per thread of ours; never threads within threads
  m.def("set_num_threads", [](int n) { omp_set_num_threads(n); });
  m.def("max_threads", [] { return omp_get_max_threads(); });
  m.def("blas_config", [] { return std::string(scipy_openblas_get_config()); });
  m.def("blas_kernels", [] { return std::string(scipy_openblas_get_corename()); });
  const Cpu cpu;
  bind_shift_phases(m, cpu);
}
