// The contrast transfer function of one image at one frequency. Source: docs/equations.md#ctf
#pragma once
#include <cmath>

#include "vitreous/base.hpp"
#include "vitreous/math/vecmath.hpp"

namespace vitreous {

// Relativistic electron wavelength, A.
VT_HD inline double electron_wavelength_A(double voltage_kV) {
  const double volt = 1e3 * voltage_kV;
  return 12.2643247 / std::sqrt(volt * (1 + 0.978466e-6 * volt));
}

// The phase in turns is xx x^2 + xy x y + yy y^2 + k4 (x^2 + y^2)^2 + constant at frequency (x, y) in 1/A.
struct CtfCoefficients {
  double xx, xy, yy, k4, constant;
  float decay_A2, scale;  // the envelope is scale exp(decay (x^2 + y^2))
};

constexpr int kCtfParameters = 9;

// p: defocus_u_A, defocus_v_A, defocus_angle_deg, voltage_kV, Cs_mm, amplitude_contrast, phase_shift_deg,
//    b_factor_A2, ctf_scale
inline CtfCoefficients ctf_coefficients(const double* p) {
  constexpr double pi = 3.14159265358979323846;
  const double wavelength_A = electron_wavelength_A(p[3]);
  const double c = std::cos(p[2] * pi / 180), s = std::sin(p[2] * pi / 180);
  const double k1 = -0.5 * wavelength_A;  // pi lambda / (2 pi); underfocus is positive and lowers the phase
  CtfCoefficients out;
  out.xx = k1 * (p[0] * c * c + p[1] * s * s);
  out.xy = k1 * 2 * (p[0] - p[1]) * c * s;
  out.yy = k1 * (p[0] * s * s + p[1] * c * c);
  out.k4 = 0.25 * 1e7 * p[4] * wavelength_A * wavelength_A * wavelength_A;
  out.constant = -(p[6] / 360 + std::asin(p[5]) / (2 * pi));  // atan(q / sqrt(1 - q^2)) = asin(q)
  out.decay_A2 = float(-p[7] / 4);
  out.scale = float(p[8]);
  return out;
}

// In double: at 2 A and 5 um underfocus the phase is 120 turns, of which float would leave an error of 1e-4 rad.
VT_HD inline double ctf_turns(const CtfCoefficients& c, double x, double y) {
  const double xx = x * x, yy = y * y, k2 = xx + yy;
  return c.xx * xx + c.xy * x * y + c.yy * yy + c.k4 * k2 * k2 + c.constant;
}

// The oscillating part, -sin(phase); 1 before the first peak where intact_first_peak is asked for.
VT_HD inline float ctf_wave(double turns, bool intact_first_peak) {
  const float wave = -sin_half(float(turns - rint(turns)));
  return intact_first_peak && fabs(turns) < 0.25 ? 1.0f : wave;
}

VT_HD inline float ctf_envelope(const CtfCoefficients& c, float x, float y) {
  return c.scale * exp_float(c.decay_A2 * (x * x + y * y));
}

}  // namespace vitreous
