#pragma once
// A model ready to be measured: its graph inlined, its attention found, its taps in place.

#include <torch/csrc/jit/runtime/interpreter.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/measure_config.h"
#include "metric/layout.h"
#include "model/load_model.h"
#include "model/weight_stream.h"
#include "observe/observe.h"
#include "report/report.h"

namespace sinkscope {

struct InstrumentedModel {
  LoadedModel loaded;
  std::optional<WeightsInfo> weights;
  std::shared_ptr<WeightStream> stream;        ///< null unless parameters are streamed
  Layout layout;                               ///< measured sites and all streams
  std::vector<bool> site_inside_branch;        ///< per site: below an If or Loop, so it may not run
  std::size_t sites_found = 0;                 ///< before --layers and --sites
  std::optional<std::int64_t> embedding_rows;  ///< ids must be below it; empty if the graph does not show it
  std::vector<std::string> operators;          ///< sinkscope:: operators that the file itself uses, alphabetical
  std::vector<Unmatched> unmatched;
  std::vector<Warning> warnings;
  std::shared_ptr<torch::jit::Graph> plain_graph, tapped_graph;
  std::unique_ptr<torch::jit::Code> plain, tapped;  ///< the same graph without and with taps
  at::Device device = at::kCPU;
  at::ScalarType dtype = at::kFloat;  ///< of the parameters: what rows of numbers are converted to
  /// Learnt while the model runs; no part of what it computes.
  std::shared_ptr<HeadOrders> head_orders = std::make_shared<HeadOrders>();
  std::vector<c10::IValue> default_arguments;  ///< of forward, after the first
  std::vector<std::string> weight_names;       ///< tensors of the checkpoint in use; empty: the model file's own

  /// What the interpreter is given: the module, `first`, then the defaults.
  std::vector<c10::IValue> inputs(const at::Tensor& first) const;
};

/// Loads MODEL, replaces its weights if asked, moves it to device and dtype, and inserts the taps.
/// Throws InputError for models that cannot be measured, UsageError where --expect-sites, --layers or --sites do not
/// fit, DeviceError for a device that is not there. A file whose hash is known is not read for it again.
InstrumentedModel instrument(const MeasureConfig& config, const std::optional<std::string>& model_sha256 = {});

/// The first half of instrument(): everything but weights, device and dtype. One graph serves many checkpoints.
InstrumentedModel instrument_graph(const MeasureConfig& config, const std::optional<std::string>& model_sha256 = {});

/// The second half: the weights at `path`, or the model file's own, on the device and in the dtype of `config`. May be
/// called again with other weights: the model is then as if it had just been loaded with them. Nothing that counts has
/// changed if it throws.
void use_weights(InstrumentedModel& model, const MeasureConfig& config, const std::optional<std::string>& path,
                 const std::optional<std::string>& weights_sha256 = {});

}  // namespace sinkscope
