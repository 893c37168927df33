#pragma once
// Takes the statistics of one batch while the graph runs, and hands them out per sequence afterwards.

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "base/needs.h"
#include "input/input.h"
#include "kernels/stream_statistics.h"
#include "measure/host_values.h"
#include "measure/site_statistics.h"
#include "metric/layout.h"
#include "metric/observation.h"
#include "observe/observe.h"

namespace sinkscope {

/// Receives observations; one call per (sequence, site), (sequence, stream) and sequence.
struct ObservationSink {
  std::function<void(const SiteObservation&)> site;
  std::function<void(const StreamObservation&)> stream;
  std::function<void(const LossObservation&)> loss;
};

class BatchRecorder {
 public:
  /// Sequences of equal length T. `layout` receives what a call shows of its site (heads, mask, measured_by, calls).
  BatchRecorder(const Needs& needs, std::vector<const Sequence*> sequences, Layout& layout);

  /// Callbacks for run_graph; valid while the recorder lives.
  Taps taps();
  /// Adds the next-token loss of `logits` [B, T, V].
  void add_loss(const at::Tensor& logits);
  /// Brings everything to the host and emits the observations, sequence by sequence.
  void emit(const ObservationSink& sink);
  /// Whether a head or a stream had to be refused (NaN, Inf or a wrong row sum). Known after emit().
  bool any_invalid() const { return any_invalid_; }
  /// Streams that are no [B, T, d] tensor. Known after the graph ran.
  const std::set<std::size_t>& odd_streams() const { return odd_streams_; }
  /// [B, T] bool: queries whose token is no trigger; empty where no metric asks.
  const std::optional<at::Tensor>& non_trigger() const { return non_trigger_; }
  /// Sites whose number of queries is not T. Known after the graph ran.
  const std::set<std::size_t>& odd_sites() const { return odd_sites_; }
  /// Self-attention sites with keys that are no tokens, and where they stand; both 0: not seen.
  const std::map<std::size_t, ExtraKeys>& extra_key_sites() const { return extra_key_sites_; }
  /// Whether no query saw a later key, at any site. Known after the graph ran.
  bool causal() const { return causal_; }
  /// Queries of the first site that ran: the length of sequences that have no ids. Known after the graph ran.
  std::int64_t positions() const { return sites_.empty() ? 0 : sites_.front().batch.queries; }

 private:
  struct SiteSlots {
    SiteId id;
    SiteBatch batch;  // sizes, mask and visibility; its tensors are released
    std::size_t key_sum, first_query, last_query, tail_sum, after_first_k_sum, selected_sum, renormalised_sum,
        learned_sink_sum, proxy_key_sum;
    std::size_t column_sum, entropy_sum, normalised_entropy_sum, row_sum_error;
    std::size_t key_first, key_others, value_first, value_others, output_mean, output_last;
  };
  struct StreamSlots {
    StreamId id;
    std::size_t norm, finite, top_value, median, massive_value, massive_index;
    std::int64_t width;
  };

  void record_site(SiteId id, const AttentionView& view);
  void record_stream(StreamId id, const at::Tensor& x);
  void describe(SiteId id, const SiteBatch& site);
  void emit_site(const SiteSlots& slots, std::size_t b, const ObservationSink& sink);
  void emit_stream(const StreamSlots& slots, std::size_t b, const ObservationSink& sink);

  const Needs& needs_;
  std::vector<const Sequence*> sequences_;
  Layout& layout_;
  MaskCache masks_;
  HostValues values_;
  std::optional<at::Tensor> non_trigger_;
  std::vector<SiteSlots> sites_;
  std::vector<StreamSlots> streams_;
  std::optional<std::size_t> nll_;
  std::set<std::size_t> odd_streams_;
  std::set<std::size_t> odd_sites_;
  std::map<std::size_t, ExtraKeys> extra_key_sites_;
  bool any_invalid_ = false, causal_ = true;
};

/// Sum over positions of the next-token negative log-likelihood, nats: [B] float64. logits [B, T, V] any float dtype,
/// ids [B, T]. Computed in float32 over blocks of rows.
at::Tensor next_token_nll(const at::Tensor& logits, const at::Tensor& ids);

/// [B, T] int64 ids of sequences of equal length.
at::Tensor ids_tensor(const std::vector<const Sequence*>& sequences);

/// What a model is given for some sequences: their ids, or their rows of numbers [B, ...] in `dtype`.
at::Tensor input_tensor(const Input& input, const std::vector<const Sequence*>& sequences, at::ScalarType dtype);

}  // namespace sinkscope
