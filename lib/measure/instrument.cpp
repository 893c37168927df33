#include "measure/instrument.h"

#include <fmt/format.h>
#include <torch/csrc/jit/ir/constants.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/error.h"
#include "config/selection.h"
#include "files/checkpoint.h"
#include "graph/attribute_path.h"
#include "graph/blocks.h"
#include "graph/find_attention.h"
#include "graph/inline_with_paths.h"
#include "graph/insert_taps.h"
#include "graph/kinds.h"
#include "graph/stream_parameters.h"
#include "graph/walk.h"
#include "measure/device.h"
#include "measure/stream_warnings.h"
#include "model/load_weights.h"

namespace sinkscope {
namespace {

/// Default values of the arguments of forward after the first. Throws InputError if one has none.
std::vector<c10::IValue> default_arguments(const LoadedModel& model) {
  const c10::FunctionSchema schema = model.module.get_method("forward").function().getSchema();
  const auto& arguments = schema.arguments();  // self first
  if (arguments.size() < 2)
    throw InputError(fmt::format("{}: forward takes no argument; token ids [B, T] are needed first.", model.path));
  std::vector<c10::IValue> defaults;
  std::vector<std::string> required;
  for (std::size_t i = 2; i < arguments.size(); ++i) {
    if (arguments[i].default_value())
      defaults.push_back(*arguments[i].default_value());
    else
      required.push_back(arguments[i].name());
  }
  if (!required.empty())
    throw InputError(
        fmt::format("{}: forward requires more than token ids: {}. Export a wrapper that takes ids [B, T] alone.",
                    model.path, fmt::join(required, ", ")));
  return defaults;
}

bool wanted(const Site& site, const MeasureConfig& config, const std::optional<LayerSelection>& layers) {
  if (layers && !layers->contains(site.info.layer)) return false;
  return !config.sites || glob_matches(*config.sites, site.info.path);
}

/// The sites that --layers and --sites name first, numbered from 0; the others behind them, because what they let a
/// query see still decides whether the model is causal. Returns how many are selected.
std::size_t select(std::vector<Site>& sites, const MeasureConfig& config) {
  const auto layers = config.layers ? std::optional(LayerSelection::parse(*config.layers)) : std::nullopt;
  const auto others =
      std::stable_partition(sites.begin(), sites.end(), [&](const Site& site) { return wanted(site, config, layers); });
  const auto selected = static_cast<std::size_t>(others - sites.begin());
  if (selected == 0)
    throw UsageError(fmt::format(
        "--layers / --sites leave none of the {} attention sites. `sinkscope inspect` lists them.", sites.size()));
  for (std::size_t i = 0; i < sites.size(); ++i) sites[i].info.id = SiteId{static_cast<std::int64_t>(i)};
  return selected;
}

void list_unmatched(InstrumentedModel& model, const std::vector<LeftAlone>& left_alone) {
  for (const LeftAlone& softmax : left_alone) {
    model.unmatched.push_back({softmax.path, softmax.op, softmax.reason});
    if (softmax.looks_like_attention)
      model.warnings.push_back(
          {"unmatched_softmax", fmt::format("{} in '{}' looks like attention and is not measured: {}.", softmax.op,
                                            softmax.path, softmax.reason)});
  }
}

void check_sites(InstrumentedModel& model, const FoundAttention& found, const MeasureConfig& config) {
  const std::string& path = model.loaded.path;
  const std::int64_t count = std::ssize(found.sites);
  if (config.expect_sites && *config.expect_sites != count)
    throw InputError(
        fmt::format("{}: {} attention sites found, --expect-sites says {}. `sinkscope inspect {}` lists them.", path,
                    count, *config.expect_sites, path));
  if (const auto counted = model.loaded.attention_sites(); counted.value_or(count) != count && !config.expect_sites)
    model.warnings.push_back({"site_count", fmt::format("{} attention sites found, {} counted when the model was "
                                                        "exported. `sinkscope inspect` lists those found.",
                                                        count, *counted)});
  if (!found.sites.empty()) return;
  std::string softmaxes;
  for (const LeftAlone& s : found.left_alone) softmaxes += fmt::format("\n  {} in '{}': {}", s.op, s.path, s.reason);
  throw InputError(
      fmt::format("{}: found no attention in forward(). Looked for scaled_dot_product_attention, for a softmax between "
                  "two products "
                  "of activations and for sinkscope::fused_attention and sinkscope::attention.{}{}",
                  path, softmaxes.empty() ? "" : " Left alone:", softmaxes));
}

/// Rows of the embedding that the ids index; empty if the graph has none on its input.
std::optional<std::int64_t> embedding_rows(torch::jit::Graph& graph, const torch::jit::Module& module) {
  std::optional<std::int64_t> rows;
  for_each_node(graph.block(), [&](torch::jit::Node* node, int) {
    if (!is_op(node, {"embedding"}) || node->input(1) != graph.inputs().at(1)) return;
    const auto name = attribute_path(node->input(0));
    for (const auto& p : module.named_parameters())
      if (p.name == name && p.value.dim() == 2) rows = p.value.size(0);
  });
  return rows;
}

/// Dropout that eval mode does not switch off, because it is a constant of the graph.
void warn_of_dropout(InstrumentedModel& model) {
  const auto number = [](torch::jit::Value* value) {
    const auto constant = torch::jit::toIValue(value);
    return constant && constant->isDouble() ? constant->toDouble()
           : constant && constant->isBool() ? constant->toBool()
                                            : 0.0;
  };
  std::size_t active = 0;
  for_each_node(model.plain_graph->block(), [&](torch::jit::Node* node, int) {
    if (is_op(node, {"dropout", "dropout_"})) active += number(node->input(1)) > 0 && number(node->input(2)) > 0;
    if (is_op(node, {"scaled_dot_product_attention"})) active += number(node->namedInput("dropout_p")) > 0;
  });
  if (active > 0)
    model.warnings.push_back(
        {"active_dropout", fmt::format("{} dropout operations are switched on in the graph itself: the values are "
                                       "random. Export the model in eval mode.",
                                       active)});
}

/// Names of the operators of this project in the model's own graph.
std::vector<std::string> own_operators(torch::jit::Graph& graph) {
  std::set<std::string> names;
  for_each_node(graph.block(), [&](torch::jit::Node* node, int) {
    if (op_name(node).substr(0, 11) == "sinkscope::") names.insert(std::string(op_name(node)));
  });
  return {names.begin(), names.end()};
}

/// Reads parameters at their use. Last, as other rewrites look for them; by a plan a graph, as taps may use them too.
void stream(InstrumentedModel& model) {
  if (!model.stream) return;
  for (auto* graph : {model.plain_graph.get(), model.tapped_graph.get()}) {
    const std::int64_t plan = model.stream->new_plan();
    model.stream->set_plan(plan, stream_parameters(*graph, plan, model.stream->parameters()));
  }
}

/// Parameters and buffers, but no placeholder: it would be filled with its one element.
void move_to_device(torch::jit::Module& module, at::Device device) {
  const auto move = [&](at::Tensor value) {
    if (!is_placeholder(value)) value.set_data(value.to(device));
  };
  for (const auto& p : module.named_parameters()) move(p.value);
  for (const auto& b : module.named_buffers()) move(b.value);
}

std::set<std::string> values_of(const std::map<std::string, std::string>& map) {
  std::set<std::string> values;
  for (const auto& [key, value] : map) values.insert(value);
  return values;
}

/// Names of the tensors of a checkpoint.
std::vector<std::string> tensor_names(const std::string& path) {
  const Checkpoint checkpoint(path);
  std::vector<std::string> names;
  for (const TensorView* tensor : checkpoint.tensors()) names.push_back(tensor->name);
  return names;
}

/// Gives every parameter and buffer the value and dtype that the model file has.
void restore(InstrumentedModel& model) {
  const LoadedModel fresh = load_model(model.loaded.path);
  if (fresh.sha256 != model.loaded.sha256)
    throw Error(Exit::input, fmt::format("{}: changed while it was in use.", model.loaded.path));
  std::map<std::string, at::Tensor> values;
  for (const auto& p : fresh.module.named_parameters()) values[p.name] = p.value;
  for (const auto& b : fresh.module.named_buffers()) values[b.name] = b.value;
  const at::NoGradGuard no_grad;
  for (const auto& p : model.loaded.module.named_parameters()) p.value.set_data(values.at(p.name));
  for (const auto& b : model.loaded.module.named_buffers()) b.value.set_data(values.at(b.name));
  model.loaded.dtype = fresh.dtype;
}

/// Once, when the weights are known: what is run.
void finish_graphs(InstrumentedModel& model, const MeasureConfig& config) {
  for (auto* graph : {model.plain_graph.get(), model.tapped_graph.get()}) {
    if (config.logits != Logits::all)
      reduce_logits(*graph, config.logits == Logits::last ? KeptLogits::last : KeptLogits::none);
    if (!model.device.is_cpu()) move_constants(*graph, model.device);
  }
  stream(model);
  model.plain = std::make_unique<torch::jit::Code>(model.plain_graph, "forward");
  model.tapped = std::make_unique<torch::jit::Code>(model.tapped_graph, "forward");
}

}  // namespace

std::vector<c10::IValue> InstrumentedModel::inputs(const at::Tensor& first) const {
  std::vector<c10::IValue> all{loaded.module._ivalue(), first.to(device)};
  all.insert(all.end(), default_arguments.begin(), default_arguments.end());
  return all;
}

InstrumentedModel instrument_graph(const MeasureConfig& config, const std::optional<std::string>& model_sha256) {
  InstrumentedModel model;
  model.device = open_device(config.device, config.device_index);
  model.loaded = load_model(config.model, model_sha256);
  model.default_arguments = default_arguments(model.loaded);

  // Once plainly, to learn where the attention is; then with markers at the calls of the blocks that hold it.
  FlatGraph flat = inline_with_paths(model.loaded.module);
  std::set<std::string> site_paths, parallel;
  {
    const FoundAttention found = find_attention(*flat.graph);
    check_sites(model, found, config);
    for (const Site& site : found.sites) site_paths.insert(site.called_as);
    parallel = parallel_lists(found.sites);
  }
  const auto blocks = find_blocks(model.loaded.module, site_paths, parallel);
  flat = inline_with_paths(model.loaded.module, values_of(blocks));
  FoundAttention found = find_attention(*flat.graph);
  find_kinds(flat, blocks, found.sites);
  const Streams streams = find_streams(flat, blocks, found.sites);
  append_stream_warnings(streams.remarks, model.warnings);
  model.sites_found = found.sites.size();
  list_unmatched(model, found.left_alone);
  std::vector<Site>& sites = found.sites;
  const std::size_t selected = select(sites, config);
  for (std::size_t i = 0; i < selected; ++i) {
    const Site& site = sites[i];
    model.layout.sites.push_back(site.info);
    model.site_inside_branch.push_back(site.inside_branch);
    if (site.info.ordinal == 1)
      model.warnings.push_back(
          {"site_reused",
           fmt::format("'{}' attends several times (it is called several times, or attends head by head); each time is "
                       "a site of its own.",
                       site.info.path)});
  }
  for (const StreamPoint& stream : streams.points) model.layout.streams.push_back(stream.info);
  insert_taps(flat, sites, streams.points);
  model.tapped_graph = flat.graph;
  model.plain_graph = inline_with_paths(model.loaded.module).graph;
  warn_of_dropout(model);
  model.operators = own_operators(*model.plain_graph);
  model.embedding_rows = embedding_rows(*model.plain_graph, model.loaded.module);
  return model;
}

void use_weights(InstrumentedModel& model, const MeasureConfig& config, const std::optional<std::string>& path,
                 const std::optional<std::string>& weights_sha256) {
  std::vector<std::string> names;
  if (path) {
    names = tensor_names(*path);
    // A checkpoint that lacks a tensor which the one before had must not inherit it.
    if (model.plain != nullptr && !model.weight_names.empty() && model.weight_names != names) {
      restore(model);
      model.weight_names.clear();
    }
  }
  // Before the weights, which are then cast once.
  move_to_dtype(model.loaded, *model.plain_graph, config.dtype);
  if (path) {
    if (config.stream_weights && !model.stream) model.stream = std::make_shared<WeightStream>(model.device);
    const LoadedWeights weights = load_weights(
        model.loaded, {*path, config.allow_missing, config.allow_unexpected, config.allow_config, weights_sha256},
        model.stream.get());
    model.weights = WeightsInfo{*path, weights.sha256, weights.dtype, weights.casts};
    model.weight_names = std::move(names);
  } else if (model.loaded.external_weights && config.runs_model) {
    throw UsageError(
        fmt::format("{}: the file holds the graph only. Give its parameters with --weights: a .safetensors file, an "
                    "index or a directory.",
                    config.model));
  }
  for (const auto& p : model.loaded.module.named_parameters()) {
    p.value.requires_grad_(false);
    if (dtype_name(p.value.scalar_type()) == model.loaded.dtype) model.dtype = p.value.scalar_type();
  }
  if (model.plain == nullptr) finish_graphs(model, config);
  if (!model.device.is_cpu()) move_to_device(model.loaded.module, model.device);
}

InstrumentedModel instrument(const MeasureConfig& config, const std::optional<std::string>& model_sha256) {
  InstrumentedModel model = instrument_graph(config, model_sha256);
  use_weights(model, config, config.weights);
  return model;
}

}  // namespace sinkscope
