// What fused attention costs in memory: a multiple of the sequence, never its square.
#include <ATen/ATen.h>

#include "catch.h"
#include "kernels/full_pass.h"
#include "measure/memory_peak.h"
#include "models.h"
#include "observe/fused_attention.h"

namespace sinkscope {
namespace {

/// Bytes held at the most while one head of 16 dims runs over `length` tokens.
std::int64_t peak_of(std::int64_t length, const ScoreFunction& score) {
  const at::NoGradGuard no_grad;
  FusedAttentionArguments a;
  a.query = models::numbers({1, 1, length, 16}, 1);
  a.key = models::numbers({1, 1, length, 16}, 2);
  a.value = models::numbers({1, 1, length, 16}, 3);
  a.score = score;
  a.sinks = at::zeros({1});
  const MemoryPeak peak;
  fused_attention(a);
  return peak.bytes();
}

TEST_CASE("fused attention over windows, chunks and sinks needs memory for the tokens, not for their pairs",
          "[measure]") {
  constexpr std::int64_t kLength = 2048, kTensor = kLength * 16 * 4;  // the matrix alone would be 128 tensors
  for (const ScoreFunction& score :
       {ScoreFunction{.causal = true}, ScoreFunction{.causal = true, .window = 100},
        ScoreFunction{.causal = true, .window = 1000}, ScoreFunction{.causal = true, .chunk = 300},
        ScoreFunction{.causal = true, .window = 30, .chunk = 300}}) {
    CAPTURE(score.window, score.chunk);
    CHECK(peak_of(kLength, score) < 24 * kTensor);
  }
}

TEST_CASE("a log-sum-exp that no backend gave needs memory for the tokens, not for their pairs", "[measure]") {
  constexpr std::int64_t kLength = 2048, kTensor = kLength * 16 * 4;
  const AttentionCall call{.query = models::numbers({1, 1, kLength, 16}, 1),
                           .key = models::numbers({1, 1, kLength, 16}, 2),
                           .score = {.causal = true}};
  const MemoryPeak peak;
  log_sum_exp(call);
  CHECK(peak.bytes() < 2 * kTensor);
}

TEST_CASE("a soft cap takes blocks of rows whose size does not grow with the sequence", "[measure]") {
  constexpr std::int64_t kLength = 8192, kMatrix = kLength * kLength * 4;  // 256 MiB
  CHECK(peak_of(kLength, {.causal = true, .softcap = 5}) < kMatrix / 2);
}

}  // namespace
}  // namespace sinkscope
