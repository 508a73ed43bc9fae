// The math headers on known values and identities. Prints what fails; exit code 1 if anything did.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <set>
#include <utility>

#include "vitreous/math/ctf.hpp"
#include "vitreous/math/healpix.hpp"
#include "vitreous/math/phase.hpp"
#include "vitreous/math/rng.hpp"
#include "vitreous/math/vecmath.hpp"

namespace {

using namespace vitreous;

constexpr double kPi = 3.14159265358979323846;
int n_failed = 0;

void near(const char* what, double got, double expected, double tolerance) {
  if (std::fabs(got - expected) <= tolerance) return;  // a NaN fails
  std::printf("%s: got %.9g, expected %.9g within %.1e\n", what, got, expected, tolerance);
  ++n_failed;
}

void sine_and_cosine() {
  for (int i = -50000; i <= 50000; ++i) {
    const float t = float(i) / 100000;
    near("sin_half", sin_half(t), std::sin(2 * kPi * double(t)), 2e-7);
    near("cos_half", cos_half(t), std::cos(2 * kPi * double(t)), 2e-7);
  }
  near("sin of NaN is NaN", std::isnan(sin_half(NAN)), 1, 0);
}

void exponential_and_logarithm() {
  for (double x = -87; x < 88; x += 0.0103)
    near("exp_float", exp_float(float(x)) / std::exp(double(float(x))), 1, 1e-7 * (1 + std::fabs(x)));
  near("exp below its range", exp_float(-200), 0, 0);
  near("exp(-inf)", exp_float(-std::numeric_limits<float>::infinity()), 0, 0);
  near("exp above its range is large", exp_float(500) > 1e38f, 1, 0);
  near("exp of NaN is NaN", std::isnan(exp_float(NAN)), 1, 0);
  for (double x = 1e-30; x < 1e30; x *= 1.0137)
    near("log_float", log_float(float(x)), std::log(double(float(x))), 3e-7 * std::max(1.0, std::fabs(std::log(x))));
  near("log(1)", log_float(1), 0, 0);
}

void shift_phases_are_turns() {
  const c64 p = shift_phase(3, -2, 5, 7, 1.0f / 32);
  near("shift_phase re", p.re, std::cos(2 * kPi * (3 * 5 - 2 * 7) / 32), 1e-6);
  near("shift_phase im", p.im, -std::sin(2 * kPi * (3 * 5 - 2 * 7) / 32), 1e-6);
  const c64 whole = shift_phase(511, 0, 1024, 0, 1.0f / 1024);
  near("shift by a whole box", whole.re, 1, 1e-6);
}

void ctf_values() {
  near("wavelength at 300 kV", electron_wavelength_A(300), 0.0196875, 1e-6);
  near("wavelength at 120 kV", electron_wavelength_A(120), 0.0334922, 1e-6);
  const double p[kCtfParameters] = {2e4, 1.5e4, 25, 300, 2.7, 0.07, 30, 0, 1};
  const CtfCoefficients c = ctf_coefficients(p);
  near("phase at the origin", ctf_turns(c, 0, 0), -(30 + std::asin(0.07) * 180 / kPi) / 360, 1e-15);
  // Along the defocus angle only U counts.
  const double f = 0.2, a = 25 * kPi / 180, w = electron_wavelength_A(300);
  const double expected =
      (-kPi * w * 2e4 * f * f + kPi / 2 * 2.7e7 * w * w * w * f * f * f * f) / (2 * kPi) + c.constant;
  near("phase along the angle", ctf_turns(c, f * std::cos(a), f * std::sin(a)), expected, 1e-12);
  near("phase is even", ctf_turns(c, 0.1, 0.3), ctf_turns(c, -0.1, -0.3), 0);
  near("wave of many turns", ctf_wave(1000.125, false), -std::sqrt(0.5), 2e-7);
  near("first peak kept whole", ctf_wave(-0.2, true), 1, 0);
  near("first peak over", ctf_wave(-0.3, true), -std::sin(-0.6 * kPi), 2e-7);
}

// Known answers of the Random123 distribution.
void philox_numbers() {
  struct Known {
    std::uint32_t counter[4];
    std::uint64_t seed;
    std::uint32_t out[4];
  };
  const Known known[] = {
      {{0, 0, 0, 0}, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{~0u, ~0u, ~0u, ~0u}, ~std::uint64_t(0), {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
       0x299f31d0a4093822,
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (const Known& k : known) {
    const Words4 r = philox4x32(k.counter[0], k.counter[1], k.counter[2], k.counter[3], k.seed);
    for (int i = 0; i < 4; ++i) near("philox4x32", r.w[i], k.out[i], 0);
  }
  near("largest normal number", normal_pair(0, 0x80000000u).re, std::sqrt(48 * std::log(2.0)), 1e-5);
  near("smallest radius", normal_pair(~0u, 0).re, 0, 1e-6);
}

void healpix_centres() {
  const Direction first = healpix_centre(0, 0);
  near("z of pixel 0", first.z, 2.0 / 3, 1e-15);
  near("phi of pixel 0", first.phi, kPi / 4, 1e-15);
  const int order = 5;
  const std::int64_t n = 12 << (2 * order);
  double z2 = 0;
  std::set<std::pair<long, long>> distinct;
  for (std::int64_t i = 0; i < n; ++i) {
    const Direction d = healpix_centre(order, i);
    near("phi in [0, 2 pi)", d.phi >= 0 && d.phi < 2 * kPi, 1, 0);
    z2 += d.z * d.z / n;
    distinct.insert({std::lround(d.z * 1e9), std::lround(d.phi * 1e9)});
  }
  near("number of distinct centres", double(distinct.size()), double(n), 0);
  near("mean of z^2", z2, 1.0 / 3, 1e-3);
}

}  // namespace

int main() {
  sine_and_cosine();
  exponential_and_logarithm();
  shift_phases_are_turns();
  ctf_values();
  philox_numbers();
  healpix_centres();
  std::printf("%d failures\n", n_failed);
  return n_failed > 0;
}
