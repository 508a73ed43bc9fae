#include "vitreous/kernels/score_coarse.hpp"

#include <cblas.h>

#include <cmath>
#include <numeric>

#include "vitreous/math/select.hpp"

namespace vitreous {
namespace {

// Columns (image, shift) and rows (slices) of a tile of scores: two such tiles and the packed operands fit a 1 MB L2 cache,
// and the products still run at the rate of large ones (bench/kernels/bench_score_coarse.py).
constexpr idx kTileColumns = 256, kTileRows = 320, kRunLength = 16;

struct Candidate {
  std::int32_t pose, shift;
  float score;
};

// Stands for -infinity inside the products, where 0 times infinity would be NaN.
constexpr float kNever = -1e30f;

struct Workspace {
  std::vector<float> y_re, y_im, product_re, product_im, norm, h, row_terms, column_terms, half_difference;
};

void gemm_nt(idx m, idx n, idx k, const float *a, idx lda, const float *b, idx ldb, float beta, float *c, idx ldc) {
  scipy_cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, int(m), int(n), int(k), 1, a, int(lda), b, int(ldb), beta, c, int(ldc));
}

// 2 Y_it = 2 ctf h X phase_t of images [first, last), shift fastest; and H_i. Without the factor and h for a correlation.
void shifted_images(const CoarseProblem &p, idx first, idx last, Workspace &w) {
  const idx n_k = p.half_inv_var.shape[0], n_t = p.phases.shape[0];
  std::vector<float> re(n_k), im(n_k);
  for (idx i = first; i < last; ++i) {
    const float *x = p.images.row(i, 0), *y = p.images.row(i, 1), *ctf = p.ctf.row(i), *h = p.half_inv_var.data;
    for (idx k = 0; k < n_k; ++k) {
      const float g = p.correlation ? (h[k] > 0 ? ctf[k] : 0.f) : ctf[k] * h[k], twice = p.correlation ? g : 2 * g;
      re[k] = twice * x[k];
      im[k] = twice * y[k];
      w.h[(i - first) * n_k + k] = g * ctf[k];
    }
    for (idx t = 0; t < n_t; ++t) {
      const float *c = p.phases.row(t, 0), *s = p.phases.row(t, 1);
      float *out_re = &w.y_re[((i - first) * n_t + t) * n_k], *out_im = &w.y_im[((i - first) * n_t + t) * n_k];
      for (idx k = 0; k < n_k; ++k) {
        out_re[k] = re[k] * c[k] - im[k] * s[k];
        out_im[k] = re[k] * s[k] + im[k] * c[k];
      }
    }
  }
}

// What does not depend on the Fourier pixel enters the products as a few more of them: a column per image of the block
// (pose prior less norm), and a column per class of the tile (shift prior). The same for a pose and its turned twin.
idx offset_terms(const CoarseProblem &p, idx first, idx last, idx r0, idx r1, Workspace &w) {
  const idx n_t = p.phases.shape[0], n_row = p.bank.shape[0], n_img = last - first;
  const bool half = p.pose_prior.shape[0] > n_row;
  const idx c0 = p.row_class[r0], n_class = p.row_class[r1 - 1] - c0 + 1, n_term = n_img + n_class;
  w.row_terms.assign((r1 - r0) * n_term, 0);
  w.column_terms.assign(n_img * n_t * n_term, 0);
  for (idx r = r0; r < r1; ++r) {
    float *terms = &w.row_terms[(r - r0) * n_term];
    const float prior = half ? 0.5f * p.pose_prior[r] + 0.5f * p.pose_prior[r + n_row] : p.pose_prior[r];
    for (idx j = 0; j < n_img; ++j) terms[j] = prior > kNever ? prior - w.norm[j * n_row + r] : kNever;
    terms[n_img + p.row_class[r] - c0] = 1;
  }
  for (idx j = 0; j < n_img; ++j)
    for (idx t = 0; t < n_t; ++t) {
      float *terms = &w.column_terms[(j * n_t + t) * n_term];
      terms[j] = 1;
      for (idx c = 0; c < n_class; ++c) {
        const bool allowed = p.only_class[first + j] < 0 || p.only_class[first + j] == c0 + c;
        terms[n_img + c] = allowed ? std::max(kNever, p.shift_prior.row(first + j, c0 + c)[t]) : kNever;
      }
    }
  return n_term;
}

// Half of what a pose's prior exceeds its turned twin's by; whether it does anywhere
bool prior_differences(const CoarseProblem &p, idx r0, idx r1, Workspace &w) {
  const idx n_row = p.bank.shape[0];
  bool any = false;
  w.half_difference.assign(r1 - r0, 0);
  for (idx r = r0; r < r1 && p.pose_prior.shape[0] > n_row; ++r)
    if (p.pose_prior[r] != p.pose_prior[r + n_row]) {
      w.half_difference[r - r0] = 0.5f * (p.pose_prior[r] - p.pose_prior[r + n_row]);
      any = true;
    }
  return any;
}

// product_re = sum + offsets, product_im = difference: the score of a pose is their sum, that of its turned twin re - im
void likelihood_tile(const CoarseProblem &p, idx first, idx last, idx r0, idx r1, Workspace &w) {
  const idx n_k = p.half_inv_var.shape[0], n_column = (last - first) * p.phases.shape[0], n = r1 - r0, ld = p.bank.stride(0);
  const idx n_term = offset_terms(p, first, last, r0, r1, w);
  gemm_nt(n_column, n, n_term, w.column_terms.data(), n_term, w.row_terms.data(), n_term, 0, w.product_re.data(), n);
  gemm_nt(n_column, n, n_k, w.y_re.data(), n_k, p.bank.row(r0, 0), ld, 1, w.product_re.data(), n);
  gemm_nt(n_column, n, n_k, w.y_im.data(), n_k, p.bank.row(r0, 1), ld, 0, w.product_im.data(), n);
  if (!prior_differences(p, r0, r1, w)) return;
  for (idx column = 0; column < n_column; ++column)
    for (idx r = 0; r < n; ++r) w.product_im[column * n + r] += w.half_difference[r];
}

float image_norm(const CoarseProblem &p, idx i) {
  double sum = 0;
  for (idx k = 0; k < p.half_inv_var.shape[0]; ++k)
    if (p.half_inv_var[k] > 0) sum += double(p.images.row(i, 0)[k]) * p.images.row(i, 0)[k] + double(p.images.row(i, 1)[k]) * p.images.row(i, 1)[k];
  return sum > 0 ? float(1 / std::sqrt(sum)) : 0.f;
}

// The same for the normalised cross-correlation
void correlation_tile(const CoarseProblem &p, idx first, idx last, idx r0, idx r1, Workspace &w) {
  const idx n_k = p.half_inv_var.shape[0], n_t = p.phases.shape[0], n = r1 - r0, n_row = p.bank.shape[0], ld = p.bank.stride(0);
  gemm_nt((last - first) * n_t, n, n_k, w.y_re.data(), n_k, p.bank.row(r0, 0), ld, 0, w.product_re.data(), n);
  gemm_nt((last - first) * n_t, n, n_k, w.y_im.data(), n_k, p.bank.row(r0, 1), ld, 0, w.product_im.data(), n);
  std::vector<float> gain(n);
  for (idx i = first; i < last; ++i) {
    const float inverse = image_norm(p, i);
    for (idx r = 0; r < n; ++r) {
      const float norm = w.norm[(i - first) * n_row + r0 + r];
      gain[r] = norm > 0 ? inverse / std::sqrt(norm) : 0.f;
    }
    for (idx t = 0; t < n_t; ++t) {
      float *re = &w.product_re[((i - first) * n_t + t) * n], *im = &w.product_im[((i - first) * n_t + t) * n];
      for (idx r = 0; r < n; ++r) {
        const bool allowed = (p.only_class[i] < 0 || p.row_class[r0 + r] == p.only_class[i]) && p.pose_prior[r0 + r] > kNever;
        re[r] = allowed ? gain[r] * re[r] : kNever;
        im[r] = allowed ? gain[r] * im[r] : 0;
      }
    }
  }
}

// The larger score of a pose and its turned twin
inline float better(float re, float im, bool half) { return half ? re + std::fabs(im) : re + im; }

float largest(const float *re, const float *im, idx n, bool half, float max) {
#pragma omp simd reduction(max : max)
  for (idx r = 0; r < n; ++r) {
    const float score = better(re[r], im[r], half);
    max = score > max ? score : max;
  }
  return max;
}

// What is known of one image's scores so far: the largest, the mass of all relative to it, and those that may be significant
struct Found {
  float max = -INFINITY;
  double total = 0;
  std::vector<Candidate> candidates;
};

// Samples this far below the largest hold less than 1e-5 of the mass together.
float negligible_below(const CoarseProblem &p) {
  if (p.correlation || p.fraction <= 0) return 1e-6f;
  return float(std::log(double(p.pose_prior.shape[0]) * p.phases.shape[0]) + 11.5);
}

// A sample this far below the largest is not significant: even all samples with its weight would hold less than the mass
// that may be left out. The total is a lower bound until the last tile.
float insignificant_below(const CoarseProblem &p, double total) {
  const double n_sample = double(p.pose_prior.shape[0]) * p.phases.shape[0];
  return float(std::log(n_sample / (std::max(1e-5, 1 - p.fraction) * std::max(total, 1.)))) + 0.01f;
}

// Adds the scores of a run of slices at one shift: their mass, and those that may be significant
void collect(const CoarseProblem &p, const float *re, const float *im, idx n, float negligible, idx first_row, idx shift, Found &image) {
  const idx n_row = p.bank.shape[0];
  const bool half = p.pose_prior.shape[0] > n_row;
  for (idx r0 = 0; r0 < n; r0 += kRunLength) {
    const idx r1 = std::min(n, r0 + kRunLength);
    if (!(largest(re + r0, im + r0, r1 - r0, half, -INFINITY) >= image.max - negligible)) continue;
    float mass = 0;
#pragma omp simd reduction(+ : mass)
    for (idx r = r0; r < r1; ++r) mass += exp_float(re[r] + im[r] - image.max) + (half ? exp_float(re[r] - im[r] - image.max) : 0.f);
    image.total += mass;
    const float threshold = image.max - std::min(negligible, insignificant_below(p, image.total));
    for (idx r = r0; r < r1; ++r) {
      const float score = re[r] + im[r], turned = re[r] - im[r];
      if (score >= threshold) image.candidates.push_back({std::int32_t(first_row + r), std::int32_t(shift), score});
      if (half && turned >= threshold) image.candidates.push_back({std::int32_t(n_row + first_row + r), std::int32_t(shift), turned});
    }
  }
}

// Largest weights that hold the fraction of the mass, sorted by pose and shift
void keep_significant(Found &image, double fraction, idx max_count) {
  std::vector<Candidate> &found = image.candidates;
  const idx n = idx(found.size());
  std::vector<float> score(n), weight(n);
  for (idx j = 0; j < n; ++j) score[j] = found[j].score;
  relative_weights(score.data(), n, image.max, weight.data());
  const float least = significant_threshold(score.data(), weight.data(), image.total, n, image.max, fraction, max_count);
  found.erase(std::remove_if(found.begin(), found.end(), [&](const Candidate &c) { return c.score < least; }), found.end());
  std::sort(found.begin(), found.end(),
            [](const Candidate &a, const Candidate &b) { return a.pose != b.pose ? a.pose < b.pose : a.shift < b.shift; });
  if (fraction <= 0 && found.size() > 1) found.resize(1);
}

// All slices of rows [r0, r1) against the block of images [first, last): scores, running maxima and mass, candidates
void score_tile(const CoarseProblem &p, idx first, idx last, idx r0, idx r1, Workspace &w, std::vector<Found> &found) {
  const idx n_t = p.phases.shape[0], n = r1 - r0;
  const bool half = p.pose_prior.shape[0] > p.bank.shape[0];
  (p.correlation ? correlation_tile : likelihood_tile)(p, first, last, r0, r1, w);
  for (idx j = 0; j < last - first; ++j) {
    Found &image = found[j];
    const float before = image.max;
    const auto re = [&](idx t) { return &w.product_re[(j * n_t + t) * n]; };
    const auto im = [&](idx t) { return &w.product_im[(j * n_t + t) * n]; };
    for (idx t = 0; t < n_t; ++t) image.max = largest(re(t), im(t), n, half, image.max);
    if (!(image.max > 0.9f * kNever)) continue;
    image.total *= std::exp(double(before - image.max));
    for (idx t = 0; t < n_t; ++t) collect(p, re(t), im(t), n, negligible_below(p), r0, t, image);
  }
}

}  // namespace

void score_coarse(Cpu, const CoarseProblem &p, Samples &samples) {
  const idx n_img = p.images.shape[0], n_t = p.phases.shape[0], n_k = p.half_inv_var.shape[0], n_row = p.bank.shape[0];
  const idx per_block = std::max<idx>(1, kTileColumns / n_t), n_block = (n_img + per_block - 1) / per_block;

  std::vector<float> power(n_row * n_k);
#pragma omp parallel for schedule(static)
  for (idx r = 0; r < n_row; ++r)
    for (idx k = 0; k < n_k; ++k)
      power[r * n_k + k] = p.bank.row(r, 0)[k] * p.bank.row(r, 0)[k] + p.bank.row(r, 1)[k] * p.bank.row(r, 1)[k];

  std::vector<std::vector<Candidate>> found(n_img);
  samples.best.assign(n_img, -INFINITY);
#pragma omp parallel
  {
    Workspace w;
    w.y_re.resize(per_block * n_t * n_k);
    w.y_im.resize(per_block * n_t * n_k);
    w.product_re.resize(per_block * n_t * kTileRows);
    w.product_im.resize(per_block * n_t * kTileRows);
    w.norm.resize(per_block * n_row);
    w.h.resize(per_block * n_k);
#pragma omp for schedule(dynamic)
    for (idx block = 0; block < n_block; ++block) {
      const idx first = block * per_block, last = std::min(n_img, first + per_block);
      shifted_images(p, first, last, w);
      gemm_nt(last - first, n_row, n_k, w.h.data(), n_k, power.data(), n_k, 0, w.norm.data(), n_row);
      std::vector<Found> block_found(last - first);
      for (idx r0 = 0; r0 < n_row; r0 += kTileRows)
        score_tile(p, first, last, r0, std::min(n_row, r0 + kTileRows), w, block_found);
      for (idx i = first; i < last; ++i) {
        Found &image = block_found[i - first];
        if (!std::isfinite(image.max) || image.max <= 0.9f * kNever) continue;
        samples.best[i] = image.max;
        keep_significant(image, p.correlation ? 0 : p.fraction, p.max_count);
        found[i].assign(image.candidates.begin(), image.candidates.end());  // without the room that the others took
      }
    }
  }
  samples.start.assign(n_img + 1, 0);
  for (idx i = 0; i < n_img; ++i) samples.start[i + 1] = samples.start[i] + idx(found[i].size());
  samples.pose.resize(samples.start[n_img]);
  samples.shift.resize(samples.start[n_img]);
  for (idx i = 0; i < n_img; ++i)
    for (std::size_t j = 0; j < found[i].size(); ++j) {
      samples.pose[samples.start[i] + j] = found[i][j].pose;
      samples.shift[samples.start[i] + j] = found[i][j].shift;
    }
}

}  // namespace vitreous
