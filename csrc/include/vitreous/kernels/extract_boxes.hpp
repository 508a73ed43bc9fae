// Boxes cut out of a micrograph, and made smaller by leaving out high frequencies (docs/equations.md#extract)
//   B_i[y,x] = micrograph[c_y - l/2 + y, c_x - l/2 + x] - offset
//     outside: the nearest pixel of the edge (clamp), or fill
//   out_i = B_i where m = l; else  C B_i C^T - s (u B_i) S^T,  s_y = (-1)^y
//   micrograph (ny, nx), in the memory of numbers of 4 bytes; centre (n, 2): x, y in px
//   cosine C, sine S (m, l), edge u (l): tables of the smaller grid, empty where m = l; out (n, m, m)
// s, u and S are what the one unpaired row of frequencies +m/2 adds; without it the rescaling would be C B C^T.
// Shapes are checked by the caller.
#pragma once
#include "vitreous/base.hpp"

namespace vitreous {
void extract_boxes(Cpu, View<const float, 2> micrograph, View<const std::int64_t, 2> centre, View<const float, 2> cosine,
                   View<const float, 2> sine, View<const float, 1> edge, bool clamp, float fill, float offset,
                   idx box, View<float, 3> out);
}  // namespace vitreous
