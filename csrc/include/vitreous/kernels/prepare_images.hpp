// Images before their transform: gain, recentring by whole pixels, and the masked copy (docs/equations.md#mask)
//   X_i = gain_i * image_i with its content moved by +shift, pixels that come from outside are 0
//   plain = X_i;  masked = mask X_i + (1 - mask) fill
//   fill: noise_i, or where noise is empty the (1 - mask)-weighted mean of X_i (0 where the mask covers the image)
//   images, plain, masked (n_i, b, b); gain (n_i); shift_px (n_i, 2): x, y; mask (b, b); noise (n_i or 0, b, b)
// Shapes are checked by the caller.
#pragma once
#include "vitreous/base.hpp"

namespace vitreous {
void prepare_images(Cpu, View<const float, 3> images, View<const float, 1> gain, View<const std::int32_t, 2> shift_px,
                    View<const float, 2> mask, View<const float, 3> noise, View<float, 3> plain, View<float, 3> masked);
void prepare_images(Cuda, View<const float, 3> images, View<const float, 1> gain, View<const std::int32_t, 2> shift_px,
                    View<const float, 2> mask, View<const float, 3> noise, View<float, 3> plain, View<float, 3> masked);
}  // namespace vitreous
