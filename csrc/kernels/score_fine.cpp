#include "vitreous/kernels/score_fine.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "vitreous/math/dot.hpp"
#include "vitreous/math/select.hpp"

namespace vitreous {
namespace {

// An image with more children than this has a posterior so flat that neighbouring children weigh the same: one child of each
// of its samples, drawn at random, stands for all of them (docs/decisions/0049-flat-posteriors.md).
constexpr idx kMostChildren = 8192;

struct Point {
  std::int32_t pose, shift;
};

// SplitMix64's finaliser: a random-looking number from any other
std::uint64_t mixed(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// One image's shifted copies, made when a coarse shift is first used, and the points scored so far
struct Workspace {
  std::vector<float> re, im, h;             // ctf h X, ctf^2 h
  std::vector<float> shifted;               // slots of (2, n_k)
  std::vector<std::int32_t> slot_of_shift;  // per coarse shift, -1: not made yet
  idx n_slot = 0;
  bool thin = false;          // one child stands for all of a sample
  std::uint64_t seed = 0;     // of this image's draws: its own data, so that nothing else decides them
  std::vector<Point> points;
  std::vector<float> score, weight, cross, sign;
  std::vector<const float *> slices, images;
};

void start_image(const FineProblem &p, idx i, Workspace &w) {
  const idx n_k = p.half_inv_var.shape[0];
  const float *x = p.images.row(i, 0), *y = p.images.row(i, 1), *ctf = p.ctf.row(i), *h = p.half_inv_var.data;
  w.re.resize(n_k);
  w.im.resize(n_k);
  w.h.resize(n_k);
  for (idx k = 0; k < n_k; ++k) {
    const float g = p.correlation ? (h[k] > 0 ? ctf[k] : 0.f) : ctf[k] * h[k];
    w.re[k] = g * x[k];
    w.im[k] = g * y[k];
    w.h[k] = g * ctf[k];
  }
  const idx n_child = p.pose_children.shape[1] * p.n_per_shift;
  const idx n_sample = p.n_whole.shape[0] ? p.n_whole[i] : p.start[i + 1] - p.start[i];
  w.thin = !p.correlation && n_child > 1 && n_sample * n_child > kMostChildren;
  std::uint32_t bits[2];
  std::memcpy(bits, x + std::min<idx>(1, n_k - 1), sizeof(float));
  std::memcpy(bits + 1, y + std::min<idx>(1, n_k - 1), sizeof(float));
  w.seed = mixed((std::uint64_t(bits[0]) << 32) + bits[1]);
  w.n_slot = 0;
  w.points.clear();
  w.score.clear();
}

// The fine shifts of one coarse shift: (n_per_shift, 2, n_k)
const float *shifted_children(const FineProblem &p, idx coarse_shift, idx n_per_shift, Workspace &w) {
  const idx n_k = p.half_inv_var.shape[0], size = n_per_shift * 2 * n_k;
  std::int32_t &slot = w.slot_of_shift[coarse_shift];
  if (slot < 0) {
    slot = std::int32_t(w.n_slot++);
    if (idx(w.shifted.size()) < w.n_slot * size) w.shifted.resize(w.n_slot * size);
    for (idx c = 0; c < n_per_shift; ++c) {
      const float *cs = p.phases.row(coarse_shift * n_per_shift + c, 0), *sn = p.phases.row(coarse_shift * n_per_shift + c, 1);
      float *re = &w.shifted[slot * size + c * 2 * n_k], *im = re + n_k;
      for (idx k = 0; k < n_k; ++k) {
        re[k] = w.re[k] * cs[k] - w.im[k] * sn[k];
        im[k] = w.re[k] * sn[k] + w.im[k] * cs[k];
      }
    }
  }
  return &w.shifted[slot * size];
}

// Cross terms of every slice with every image, in blocks that fill the registers
void all_cross_terms(const std::vector<const float *> &slices, const std::vector<float> &sign,
                     const std::vector<const float *> &images, idx n_k, float *out) {
  const idx n_a = idx(slices.size()), n_b = idx(images.size());
  for (idx a = 0; a < n_a;) {
    const bool two = n_a - a >= 2;
    for (idx b = 0; b < n_b;) {
      const idx left = n_b - b, step = left >= 4 ? 4 : left >= 2 ? 2 : 1;
      float *o = out + a * n_b + b;
      const float *const *s = &slices[a], *const *y = &images[b];
      if (two && step == 4) dot_block<2, 4>(s, y, &sign[a], n_k, o, n_b);
      else if (two && step == 2) dot_block<2, 2>(s, y, &sign[a], n_k, o, n_b);
      else if (two) dot_block<2, 1>(s, y, &sign[a], n_k, o, n_b);
      else if (step == 4) dot_block<1, 4>(s, y, &sign[a], n_k, o, n_b);
      else if (step == 2) dot_block<1, 2>(s, y, &sign[a], n_k, o, n_b);
      else dot_block<1, 1>(s, y, &sign[a], n_k, o, n_b);
      b += step;
    }
    a += two ? 2 : 1;
  }
}

float slice_norm(const float *slice, const float *h, idx n_k) {
  float sum = 0;
  const float *im = slice + n_k;
#pragma omp simd reduction(+ : sum)
  for (idx k = 0; k < n_k; ++k) sum += (slice[k] * slice[k] + im[k] * im[k]) * h[k];
  return sum;
}

float image_norm(const FineProblem &p, idx i) {
  double sum = 0;
  for (idx k = 0; k < p.half_inv_var.shape[0]; ++k)
    if (p.half_inv_var[k] > 0) sum += double(p.images.row(i, 0)[k]) * p.images.row(i, 0)[k] + double(p.images.row(i, 1)[k]) * p.images.row(i, 1)[k];
  return sum > 0 ? float(1 / std::sqrt(sum)) : 0.f;
}

// Scores of all children of coarse samples [first, last), which share one coarse pose; in the order of pose, then shift
void score_pose(const FineProblem &p, idx i, idx first, idx last, float inv_image_norm, Workspace &w) {
  const idx n_k = p.half_inv_var.shape[0], n_row = p.bank.shape[0], n_per_shift = p.n_per_shift;
  const idx n_child = w.thin ? 1 : p.pose_children.shape[1], n_own = w.thin ? 1 : n_per_shift, n_fine = (last - first) * n_own;
  const std::int32_t key = p.pose_key.shape[0] ? p.pose_key[p.pose[first]] : p.pose[first];
  const std::uint64_t draw = mixed(w.seed + std::uint64_t(key));
  const std::int32_t *children = p.pose_children.row(p.pose[first]) + (w.thin ? draw % p.pose_children.shape[1] : 0);
  const auto first_shift = [&](idx s) {  // of the children of sample s that are scored
    return p.shift[s] * n_per_shift + (w.thin ? idx(mixed(draw + std::uint64_t(p.shift[s])) % n_per_shift) : 0);
  };
  w.slices.resize(n_child);
  w.sign.resize(n_child);
  w.images.resize(n_fine);
  w.cross.resize(n_child * n_fine);
  for (idx a = 0; a < n_child; ++a) {
    const bool turned = children[a] >= n_row;
    w.slices[a] = p.bank.row(turned ? children[a] - n_row : children[a], 0);
    w.sign[a] = turned ? -1.f : 1.f;
  }
  for (idx s = first; s < last; ++s) shifted_children(p, p.shift[s], n_per_shift, w);
  for (idx s = first; s < last; ++s)  // only now: making a slot may move the others
    for (idx b = 0; b < n_own; ++b)
      w.images[(s - first) * n_own + b] =
          shifted_children(p, p.shift[s], n_per_shift, w) + (first_shift(s) - p.shift[s] * n_per_shift + b) * 2 * n_k;
  all_cross_terms(w.slices, w.sign, w.images, n_k, w.cross.data());
  const idx c = p.row_class[children[0] >= n_row ? children[0] - n_row : children[0]];
  const float *shift_prior = p.shift_prior.row(i, c);
  const std::size_t n_before = w.score.size();
  w.points.resize(n_before + w.cross.size());
  w.score.resize(n_before + w.cross.size());
  Point *point = &w.points[n_before];
  float *score = &w.score[n_before];
  for (idx a = 0; a < n_child; ++a) {
    const float norm = slice_norm(w.slices[a], w.h.data(), n_k), prior = p.pose_prior[children[a]];
    const float gain = norm > 0 ? inv_image_norm / std::sqrt(norm) : -INFINITY;
    for (idx s = first; s < last; ++s) {
      const float own = p.sample_prior.shape[0] ? p.sample_prior[s] : 0.f;
      for (idx b = 0; b < n_own; ++b) {
        const idx t = first_shift(s) + b;
        const float x = w.cross[a * n_fine + (s - first) * n_own + b];
        *point++ = {children[a], std::int32_t(t)};
        *score++ = p.correlation ? x * gain : 2 * x - norm + prior + own + shift_prior[t];
      }
    }
  }
}

struct Kept {
  std::vector<Point> points;
  std::vector<float> weight;
};

// Threshold and normalise; the points stay in their order, by pose, then shift
Kept keep_points(const FineProblem &p, idx i, Workspace &w, Posterior &out) {
  Kept kept;
  const idx n = idx(w.score.size());
  float max = -INFINITY;
  idx best = -1;
  for (idx j = 0; j < n; ++j)
    if (w.score[j] > max) {
      max = w.score[j];
      best = j;
    }
  if (best < 0 || !std::isfinite(max)) return kept;
  out.best_pose[i] = w.points[best].pose;
  out.best_shift[i] = w.points[best].shift;
  if (p.correlation) {
    out.p_max[i] = 1;
    out.log_evidence[i] = max;
    kept.points.push_back(w.points[best]);
    kept.weight.push_back(1);
    return kept;
  }
  w.weight.resize(n);
  const double stands_for = w.thin ? double(p.pose_children.shape[1] * p.n_per_shift) : 1.;
  const double total = relative_weights(w.score.data(), n, max, w.weight.data());
  const float least = significant_threshold(w.score.data(), w.weight.data(), total, n, max, p.fraction, 0);
  out.p_max[i] = float(1 / (stands_for * total));
  out.log_evidence[i] = float(max + std::log(stands_for * total));
  double used = 0;
  for (idx j = 0; j < n; ++j) {
    if (!(w.score[j] >= least)) continue;
    used += w.weight[j];
    kept.points.push_back(w.points[j]);
    kept.weight.push_back(w.weight[j]);
  }
  for (float &v : kept.weight) v = float(v / used);
  return kept;
}

}  // namespace

void score_fine(Cpu, const FineProblem &p, Posterior &out) {
  const idx n_img = p.images.shape[0];
  out.best_pose.assign(n_img, -1);
  out.best_shift.assign(n_img, -1);
  out.p_max.assign(n_img, 0);
  out.log_evidence.assign(n_img, -INFINITY);
  std::vector<Kept> kept(n_img);
#pragma omp parallel
  {
    Workspace w;
#pragma omp for schedule(dynamic)
    for (idx i = 0; i < n_img; ++i) {
      start_image(p, i, w);
      w.slot_of_shift.assign(p.phases.shape[0] / p.n_per_shift, -1);
      const float inv_norm = p.correlation ? image_norm(p, i) : 0.f;
      for (idx s = p.start[i]; s < p.start[i + 1];) {
        idx end = s + 1;
        while (end < p.start[i + 1] && p.pose[end] == p.pose[s]) ++end;
        score_pose(p, i, s, end, inv_norm, w);
        s = end;
      }
      kept[i] = keep_points(p, i, w, out);
    }
  }
  out.start.assign(n_img + 1, 0);
  for (idx i = 0; i < n_img; ++i) out.start[i + 1] = out.start[i] + idx(kept[i].points.size());
  out.pose.resize(out.start[n_img]);
  out.shift.resize(out.start[n_img]);
  out.weight.resize(out.start[n_img]);
  for (idx i = 0; i < n_img; ++i)
    for (std::size_t j = 0; j < kept[i].points.size(); ++j) {
      out.pose[out.start[i] + j] = kept[i].points[j].pose;
      out.shift[out.start[i] + j] = kept[i].points[j].shift;
      out.weight[out.start[i] + j] = kept[i].weight[j];
    }
}

}  // namespace vitreous
