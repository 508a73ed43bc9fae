// For every pixel and reference the best of the reference's templates, whose maps are combinations of basis maps:
//   best[r,p] = max over t in start[r] .. start[r+1]-1 of P[t,p] + |Q[t,p]|; which[r,p] = the first such t, plus n_template
//   where its Q is negative. P and Q are coefficient x basis over the first n_even basis maps and over the others: what a
//   template and its half turn share, and what changes its sign between them. n_even = n_basis: no half turns.
//   basis (n_basis, n_px): correlation maps; coefficient (n_template, n_basis); start (n_ref + 1) int32, ascending from 0
//   best, which (n_ref, n_px). NaN is never better; where all are NaN or there is no template: best -inf, which -1.
// Source: docs/programs/autopick.md#templates
#pragma once
#include "vitreous/base.hpp"

namespace vitreous {
void pick_best(Cpu, View<const float, 2> basis, View<const float, 2> coefficient, View<const std::int32_t, 1> start, idx n_even,
               View<float, 2> best, View<std::int32_t, 2> which);
}  // namespace vitreous
