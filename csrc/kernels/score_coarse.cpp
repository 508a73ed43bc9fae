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

struct Workspace {
  std::vector<float> y_re, y_im, product_re, product_im, norm, h, inv_norm;
};

void gemm_nt(idx m, idx n, idx k, const float *a, idx lda, const float *b, idx ldb, float *c, idx ldc) {
  scipy_cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, int(m), int(n), int(k), 1, a, int(lda), b, int(ldb), 0, c, int(ldc));
}

// Y_it = ctf h X phase_t of images [first, last), shift fastest
void shifted_images(const CoarseProblem &p, idx first, idx last, Workspace &w) {
  const idx n_k = p.half_inv_var.shape[0], n_t = p.phases.shape[0];
  std::vector<float> re(n_k), im(n_k);
  for (idx i = first; i < last; ++i) {
    const float *x = p.images.row(i, 0), *y = p.images.row(i, 1), *ctf = p.ctf.row(i), *h = p.half_inv_var.data;
    for (idx k = 0; k < n_k; ++k) {
      const float g = p.correlation ? (h[k] > 0 ? ctf[k] : 0.f) : ctf[k] * h[k];
      re[k] = g * x[k];
      im[k] = g * y[k];
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

float image_norm(const CoarseProblem &p, idx i) {
  double sum = 0;
  for (idx k = 0; k < p.half_inv_var.shape[0]; ++k)
    if (p.half_inv_var[k] > 0) sum += double(p.images.row(i, 0)[k]) * p.images.row(i, 0)[k] + double(p.images.row(i, 1)[k]) * p.images.row(i, 1)[k];
  return sum > 0 ? float(1 / std::sqrt(sum)) : 0.f;
}

// score = gain * cross + offset over a run of slices; the running maximum is returned
float finish_scores(float *score, const float *gain, float common_gain, const float *offset, float common_offset, idx n, float max) {
  if (gain)
    for (idx r = 0; r < n; ++r) score[r] = common_gain * gain[r] * score[r] + offset[r];
  else
    for (idx r = 0; r < n; ++r) score[r] = common_gain * score[r] + (offset[r] + common_offset);
#pragma omp simd reduction(max : max)
  for (idx r = 0; r < n; ++r) max = score[r] > max ? score[r] : max;
  return max;
}

void collect(const float *score, idx n, float threshold, idx first_pose, idx shift, std::vector<Candidate> &out) {
  for (idx r0 = 0; r0 < n; r0 += kRunLength) {
    const idx r1 = std::min(n, r0 + kRunLength);
    float max = -INFINITY;
#pragma omp simd reduction(max : max)
    for (idx r = r0; r < r1; ++r) max = score[r] > max ? score[r] : max;
    if (!(max > threshold)) continue;
    for (idx r = r0; r < r1; ++r)
      if (score[r] > threshold) out.push_back({std::int32_t(first_pose + r), std::int32_t(shift), score[r]});
  }
}

// Largest weights that hold the fraction of the mass, sorted by pose and shift
void keep_significant(std::vector<Candidate> &found, float max, double fraction, idx max_count) {
  std::vector<float> scores(found.size());
  for (std::size_t j = 0; j < found.size(); ++j) scores[j] = found[j].score;
  const float least = significant_threshold(scores.data(), idx(scores.size()), max, fraction, max_count);
  found.erase(std::remove_if(found.begin(), found.end(), [&](const Candidate &c) { return c.score < least; }), found.end());
  std::sort(found.begin(), found.end(),
            [](const Candidate &a, const Candidate &b) { return a.pose != b.pose ? a.pose < b.pose : a.shift < b.shift; });
  if (fraction <= 0 && found.size() > 1) found.resize(1);
}

// All slices of rows [r0, r1) against the block of images [first, last): scores, running maxima, candidates
void score_tile(const CoarseProblem &p, idx first, idx last, idx r0, idx r1, float cut, Workspace &w,
                std::vector<float> &max, std::vector<std::vector<Candidate>> &found) {
  const idx n_k = p.half_inv_var.shape[0], n_t = p.phases.shape[0], n_row = p.bank.shape[0], n = r1 - r0;
  const idx n_turn = p.pose_prior.shape[0] / n_row, ld = p.bank.stride(0);
  gemm_nt((last - first) * n_t, n, n_k, w.y_re.data(), n_k, p.bank.row(r0, 0), ld, w.product_re.data(), n);
  gemm_nt((last - first) * n_t, n, n_k, w.y_im.data(), n_k, p.bank.row(r0, 1), ld, w.product_im.data(), n);
  std::vector<float> offset(n);
  for (idx i = first; i < last; ++i) {
    const float *norm = &w.norm[(i - first) * n_row + r0];
    const float *gain = p.correlation ? &w.inv_norm[(i - first) * n_row + r0] : nullptr;
    const float common_gain = p.correlation ? image_norm(p, i) : 2.f;
    for (idx t = 0; t < n_t; ++t) {  // products become cross terms of the slice and of its conjugate, in place
      float *a = &w.product_re[((i - first) * n_t + t) * n], *b = &w.product_im[((i - first) * n_t + t) * n];
      for (idx r = 0; r < n; ++r) {
        const float sum = a[r] + b[r], difference = a[r] - b[r];
        a[r] = sum;
        b[r] = difference;
      }
    }
    for (idx turn = 0; turn < n_turn; ++turn) {
      const float *prior = p.pose_prior.data + turn * n_row + r0;
      for (idx r = 0; r < n; ++r) {
        const bool allowed = p.only_class[i] < 0 || p.row_class[r0 + r] == p.only_class[i];
        offset[r] = !allowed ? -INFINITY : p.correlation ? (prior[r] > -INFINITY ? 0.f : prior[r]) : prior[r] - norm[r];
      }
      for (idx run = 0; run < n;) {  // a run of rows of one class shares its offset prior
        idx end = run + 1;
        const std::int32_t c = p.row_class[r0 + run];
        while (end < n && p.row_class[r0 + end] == c) ++end;
        for (idx t = 0; t < n_t; ++t) {
          float *s = (turn ? w.product_im.data() : w.product_re.data()) + ((i - first) * n_t + t) * n + run;
          const float before = max[i - first];
          const float now = finish_scores(s, gain ? gain + run : nullptr, common_gain, &offset[run], p.correlation ? 0.f : p.shift_prior.row(i, c)[t], end - run, before);
          max[i - first] = now;
        }
        run = end;
      }
    }
    for (idx turn = 0; turn < n_turn; ++turn)
      for (idx t = 0; t < n_t; ++t)
        collect((turn ? w.product_im.data() : w.product_re.data()) + ((i - first) * n_t + t) * n, n,
                max[i - first] - cut, turn * n_row + r0, t, found[i - first]);
  }
}

}  // namespace

void score_coarse(Cpu, const CoarseProblem &p, Samples &samples) {
  const idx n_img = p.images.shape[0], n_t = p.phases.shape[0], n_k = p.half_inv_var.shape[0], n_row = p.bank.shape[0];
  const idx per_block = std::max<idx>(1, kTileColumns / n_t), n_block = (n_img + per_block - 1) / per_block;
  // What lies this far below the best holds less than 1e-5 of the mass together, so it cannot decide what is significant.
  const float cut = p.correlation || p.fraction <= 0 ? 1e-6f : float(std::log(double(p.pose_prior.shape[0]) * n_t) + 11.5);

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
    if (p.correlation) w.inv_norm.resize(per_block * n_row);
#pragma omp for schedule(dynamic)
    for (idx block = 0; block < n_block; ++block) {
      const idx first = block * per_block, last = std::min(n_img, first + per_block);
      shifted_images(p, first, last, w);
      gemm_nt(last - first, n_row, n_k, w.h.data(), n_k, power.data(), n_k, w.norm.data(), n_row);
      if (p.correlation)
        for (idx j = 0; j < (last - first) * n_row; ++j) w.inv_norm[j] = w.norm[j] > 0 ? 1 / std::sqrt(w.norm[j]) : 0.f;
      std::vector<float> max(last - first, -INFINITY);
      std::vector<std::vector<Candidate>> block_found(last - first);
      for (idx r0 = 0; r0 < n_row; r0 += kTileRows)
        score_tile(p, first, last, r0, std::min(n_row, r0 + kTileRows), cut, w, max, block_found);
      for (idx i = first; i < last; ++i) {
        samples.best[i] = max[i - first];
        if (!std::isfinite(max[i - first])) continue;
        keep_significant(block_found[i - first], max[i - first], p.correlation ? 0 : p.fraction, p.max_count);
        found[i] = std::move(block_found[i - first]);
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
