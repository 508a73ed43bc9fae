// The host module: built once per instruction set under the names _cpu and _cpu_avx512, with one function table.
#include <cblas.h>
#include <omp.h>

#include "bind/bind_coloured_noise.hpp"
#include "bind/bind_ctf_image.hpp"
#include "bind/bind_extract_boxes.hpp"
#include "bind/bind_extract_normalise.hpp"
#include "bind/bind_gather_band.hpp"
#include "bind/bind_inverse_columns.hpp"
#include "bind/bind_inverse_rows.hpp"
#include "bind/bind_lowest_frequencies.hpp"
#include "bind/bind_math.hpp"
#include "bind/bind_pick_best.hpp"
#include "bind/bind_prepare_images.hpp"
#include "bind/bind_shell_power.hpp"
#include "bind/bind_shift_phases.hpp"
#include "bind/bind_thin_peaks.hpp"
#include "bind/bind_weighted_sums.hpp"
#include "bind/bind_score_fine.hpp"
#include "bind/bind_score_coarse.hpp"
#include "bind/bind_backproject.hpp"
#include "bind/bind_project.hpp"
#include "bind/bind_project3d.hpp"
#include "bind/bind_backproject3d.hpp"
#include "bind/bind_symmetrise.hpp"
#include "bind/bind_shell_weights.hpp"
#include "bind/bind_wiener.hpp"

PYBIND11_MODULE(VITREOUS_MODULE, m) {
  using namespace vitreous;
  scipy_openblas_set_num_threads(1);  // one product per thread of ours; never threads within threads
  m.def("set_num_threads", [](int n) { omp_set_num_threads(n); });
  m.def("max_threads", [] { return omp_get_max_threads(); });
  m.def("blas_config", [] { return std::string(scipy_openblas_get_config()); });
  m.def("blas_kernels", [] { return std::string(scipy_openblas_get_corename()); });
  const Cpu cpu;
  bind_coloured_noise(m, cpu);
  bind_ctf_image(m, cpu);
  bind_extract_boxes(m, cpu);
  bind_extract_normalise(m, cpu);
  bind_gather_band(m, cpu);
  bind_inverse_columns(m, cpu);
  bind_inverse_rows(m, cpu);
  bind_lowest_frequencies(m, cpu);
  bind_math(m);
  bind_pick_best(m, cpu);
  bind_prepare_images(m, cpu);
  bind_shell_power(m, cpu);
  bind_shift_phases(m, cpu);
  bind_thin_peaks(m, cpu);
  bind_weighted_sums(m, cpu);
  bind_score_fine(m, cpu);
  bind_score_coarse(m, cpu);
  bind_backproject(m, cpu);
  bind_project(m, cpu);
  bind_project3d(m, cpu);
  bind_backproject3d(m, cpu);
  bind_symmetrise(m, cpu);
  bind_shell_weights(m, cpu);
  bind_wiener(m, cpu);
}
