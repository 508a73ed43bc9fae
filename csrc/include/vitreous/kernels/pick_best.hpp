// For every pixel and reference the best of the reference's templates, whose maps are combinations of basis maps:
//   best[r,p] = max over t in start[r] .. start[r+1]-1 of sum_j coefficient[t,j] basis[j,p]; which[r,p] = the first such t
//   basis (n_basis, n_px): correlation maps; coefficient (n_template, n_basis); start (n_ref + 1) int32, ascending from 0
//   best, which (n_ref, n_px). NaN is never better; where all are NaN or there is no template: best -inf, which -1.
// Source: docs/programs/autopick.md#templates
#pragma once
#include "vitreous/base.hpp"

namespace vitreous {
void pick_best(Cpu, View<const float, 2> basis, View<const float, 2> coefficient, View<const std::int32_t, 1> start,
               View<float, 2> best, View<std::int32_t, 2> which);
}  // namespace vitreous
