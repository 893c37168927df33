#include "model/load_weights.h"

#include <map>
#include <set>

#include "model/assemble.h"

namespace sinkscope {
namespace {

void set_attribute(torch::jit::Module module, const std::string& name, const at::Tensor& value) {
  std::string rest = name;
  for (auto dot = rest.find('.'); dot != std::string::npos; dot = rest.find('.')) {
    module = module.attr(rest.substr(0, dot)).toModule();
    rest = rest.substr(dot + 1);
  }
  module.setattr(rest, value);
}

std::set<std::string> parameter_names(const torch::jit::Module& module) {
  std::set<std::string> names;
  for (const auto& p : module.named_parameters()) names.insert(p.name);
  return names;
}

/// Identity of what fills a match: those of one recipe and dtype are one tensor, tied in the model.
using Key = std::pair<std::string, at::ScalarType>;
Key key_of(const WeightMatch& match) { return {describe(match.recipe), match.target.scalar_type()}; }

void fill(LoadedModel& model, const MatchedWeights& matched) {
  std::map<Key, at::Tensor> shared;  // by what external matches are made of
  for (const WeightMatch& match : matched.matches) {
    const at::ScalarType type = match.target.scalar_type();
    if (!match.external) {
      at::Tensor target = match.target;
      target.copy_(assemble(match.recipe, *matched.checkpoint, type));
      continue;
    }
    at::Tensor& value = shared[key_of(match)];
    if (!value.defined()) value = assemble_mapped(match.recipe, matched.checkpoint, type).to(match.target.device());
    set_attribute(model.module, match.name, value);
  }
}

/// Parameters go to the stream; the buffers, which are few and small, are filled.
void hand_over(LoadedModel& model, MatchedWeights matched, WeightStream& stream) {
  const std::set<std::string> parameters = parameter_names(model.module);
  std::vector<WeightMatch> streamed, kept;
  for (WeightMatch& match : matched.matches)
    (parameters.contains(match.name) ? streamed : kept).push_back(std::move(match));
  std::map<const void*, at::Tensor> placeholders;  // tied parameters stay recognisable
  for (const WeightMatch& match : streamed) {
    if (match.external) continue;
    at::Tensor& value = placeholders[match.target.data_ptr()];
    if (!value.defined()) value = placeholder(match.target.sizes(), match.target.scalar_type());
    set_attribute(model.module, match.name, value);
    model.external.insert(match.name);
  }
  matched.matches = std::move(kept);
  fill(model, matched);
  matched.matches = std::move(streamed);
  stream.open(std::move(matched));
}

/// Of a graph-only file, whose placeholders do not say which parameters are tied.
void count_parameters(LoadedModel& model, const MatchedWeights& matched) {
  const std::set<std::string> parameters = parameter_names(model.module);
  std::set<Key> seen;
  std::set<std::string> filled;
  std::int64_t elements = 0;
  for (const WeightMatch& match : matched.matches) {
    filled.insert(match.name);
    if (parameters.contains(match.name) && seen.insert(key_of(match)).second) elements += match.target.numel();
  }
  for (const auto& p : model.module.named_parameters())
    if (!filled.contains(p.name)) elements += p.value.numel();
  model.parameters = elements;
}

}  // namespace

LoadedWeights load_weights(LoadedModel& model, const WeightsRequest& request, WeightStream* stream) {
  const at::NoGradGuard no_grad;
  MatchedWeights matched = match_weights(model, request);
  LoadedWeights loaded{
      request.known_sha256 ? *request.known_sha256 : matched.checkpoint->sha256(), matched.dtype, matched.casts, {}};
  for (const SafetensorsFile& file : matched.checkpoint->files()) loaded.files.push_back(file.path());
  if (model.external_weights) count_parameters(model, matched);
  if (stream != nullptr)
    hand_over(model, std::move(matched), *stream);
  else
    fill(model, matched);
  return loaded;
}

}  // namespace sinkscope
