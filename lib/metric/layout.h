#pragma once
// What was measured: the attention sites and residual streams of a model, as the report lists them.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"

namespace sinkscope {

/// One attention call of the inlined graph, keyed by (path, ordinal). Indices are 0-based.
struct SiteInfo {
  SiteId id{};
  std::string path;                   ///< module path, for example "m.model.layers.0.self_attn"
  std::int64_t ordinal = 0;           ///< 0, 1, ... among the sites with this path, in execution order
  std::optional<std::int64_t> layer;  ///< order of the block within its stack
  std::string kind = "self";          ///< self | cross
  bool own_keys = false;              ///< the graph shows that the keys come from the queries' own stream
  std::string pattern;                ///< idiom: sdpa, eager, ...
  std::string measured_by;            ///< fused | blocks | materialised | marked
  std::optional<std::string> reason;  ///< why it is not measured fused; empty for fused sites
  std::optional<std::int64_t> query_heads, kv_heads, head_dim;  ///< known after the first call
  std::string mask = "none";                                    ///< none | causal | window | chunk | padding | other
  std::optional<std::int64_t> window;                           ///< keys of a sliding window or chunk
  std::optional<double> softcap;
  bool learned_sink = false;
  std::string row_sum = "one";  ///< one | with_sink | free: what a row of probabilities sums to
  std::int64_t calls = 0;       ///< sequences it was called for
};

/// The residual stream at a block boundary.
struct StreamInfo {
  StreamId id{};
  std::string path;                   ///< module path of the block
  std::string point = "leaving";      ///< entering | leaving
  std::optional<std::int64_t> layer;  ///< block that it leaves; empty for the state entering the first block
};

struct Layout {
  std::vector<SiteInfo> sites;
  std::vector<StreamInfo> streams;
};

}  // namespace sinkscope
