#include "model/match_weights.h"

#include <ATen/Functions.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <unordered_map>

#include "base/error.h"
#include "config/selection.h"
#include "files/ignored_tensors.h"
#include "files/legacy_tensors.h"
#include "model/assemble.h"
#include "model/check_config.h"
#include "model/naming.h"
#include "model/own_buffer.h"
#include "model/weight_problems.h"

namespace sinkscope {
namespace {

constexpr std::size_t kPiece = std::size_t{1} << 20;  // bytes compared at a time

bool matches_any(const std::vector<std::string>& globs, const std::string& name) {
  return std::any_of(globs.begin(), globs.end(), [&](const auto& glob) { return glob_matches(glob, name); });
}

std::string shape_text(at::IntArrayRef shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

bool same_bytes(const TensorView& a, const TensorView& b) {
  if (a.dtype != b.dtype || a.shape != b.shape || a.bytes.size() != b.bytes.size()) return false;
  std::vector<std::byte> one(kPiece), other(kPiece);
  for (std::size_t from = 0; from < a.bytes.size(); from += kPiece) {
    const std::size_t size = std::min(kPiece, a.bytes.size() - from);
    a.read(from, std::span(one.data(), size));
    b.read(from, std::span(other.data(), size));
    if (std::memcmp(one.data(), other.data(), size) != 0) return false;
  }
  return true;
}

struct Slot {
  std::string name;
  at::Tensor tensor;
  bool is_parameter = false;
};

class Matcher {
 public:
  Matcher(const LoadedModel& model, const WeightsRequest& request)
      : model_(model), request_(request), checkpoint_(std::make_shared<const Checkpoint>(request.path)) {
    for (const auto& p : model.module.named_parameters()) slots_.push_back({p.name, p.value, true});
    for (const auto& b : model.module.named_buffers()) slots_.push_back({b.name, b.value, false});
    if (!model.metadata.is_object()) return;
    if (model.metadata.contains("weight_map")) map_ = parse_weight_map(model.metadata.at("weight_map"));
    if (model.metadata.contains("ignored_tensors")) ignored_ = IgnoredTensors(model.metadata.at("ignored_tensors"));
  }

  MatchedWeights run() {
    find_recipes();
    for (const Slot& slot : slots_) match(slot);
    find_twins();
    check_unused();
    problems_.throw_if_any(request_.path, model_.path);
    MatchedWeights matched;
    matched.checkpoint = checkpoint_;
    matched.casts = std::ssize(cast_);
    matched.dtype = dtype();
    matched.matches = std::move(matches_);
    return matched;
  }

 private:
  bool there(const Recipe& recipe) const {
    const auto names = tensors_of(recipe);
    return std::all_of(names.begin(), names.end(),
                       [&](const std::string& name) { return checkpoint_->find(name) != nullptr; });
  }

  /// Buffers may do without the checkpoint: where several prefixes fit them alike, none does.
  Naming naming_of(const std::set<std::string>& names, bool needed) {
    const auto namings = find_namings(
        names, *checkpoint_, [&](const std::string& tensor) { return matches_any(request_.allow_unexpected, tensor); });
    if (namings.size() == 1 || !needed) return namings.size() == 1 ? namings.front() : Naming();
    for (const Naming& naming : namings)
      problems_.add("prefixes that fit alike, leave out with --allow-unexpected GLOB all but one", naming.prefix());
    return namings.front();
  }

  /// Fills recipes_: through the weight map, else by name.
  void find_recipes() {
    std::set<std::string> mapped, unmapped, buffers;
    for (const auto& [name, recipe] : map_)
      for (std::string& tensor : tensors_of(recipe)) mapped.insert(std::move(tensor));
    const Naming of_map = naming_of(mapped, true);
    for (const Slot& slot : slots_) {
      if (const auto entry = map_.find(slot.name); entry != map_.end()) {
        Recipe recipe = renamed(entry->second, [&](const std::string& name) { return of_map.in_file(name); });
        if (there(recipe)) {
          recipes_.emplace(slot.name, std::move(recipe));
          continue;
        }
      }
      if (slot.is_parameter)
        unmapped.insert(slot.name);
      else if (slot.tensor.is_floating_point())
        buffers.insert(slot.name);
    }
    of_names_ = unmapped.empty() ? naming_of(buffers, false) : naming_of(unmapped, true);
    for (const Slot& slot : slots_) {
      Recipe recipe;
      recipe.name = of_names_.in_file(slot.name);
      if (!recipes_.contains(slot.name) && there(recipe)) recipes_.emplace(slot.name, std::move(recipe));
    }
  }

  void match(const Slot& slot) {
    const auto found = recipes_.find(slot.name);
    if (found == recipes_.end()) {
      if (slot.is_parameter || map_.contains(slot.name)) missing_.push_back(slot);
      return;
    }
    const Recipe& recipe = found->second;
    const auto names = tensors_of(recipe);
    const auto view = [&](const std::string& name) -> const TensorView& { return *checkpoint_->find(name); };
    used_.insert(names.begin(), names.end());
    if (stays_own(slot, recipe)) return;
    for (const std::string& name : names)
      if (!float_type(view(name).dtype)) {
        problems_.add("other dtype than F32, F16, BF16 or F64", fmt::format("{}: {}", name, view(name).dtype));
        return;
      }
    try {
      const auto shape = shape_of(recipe, [&](const std::string& name) { return view(name).shape; });
      if (at::IntArrayRef(shape) != slot.tensor.sizes()) {
        problems_.add("other shape", fmt::format("{}: {} in the file, {} in the model", describe(recipe),
                                                 shape_text(shape), shape_text(slot.tensor.sizes())));
        return;
      }
    } catch (const InputError& error) {
      problems_.add("other shape", fmt::format("{}: {}", slot.name, error.what()));
      return;
    }
    for (const std::string& name : names) count(view(name), slot.tensor.scalar_type());
    check_twin(slot, recipe);
    matches_.push_back({slot.name, slot.tensor, recipe, model_.external.contains(slot.name)});
  }

  /// Integer buffers, and those that every model computes, are not replaced: whether `slot` is one. A checkpoint that
  /// has other values was made for another computation.
  bool stays_own(const Slot& slot, const Recipe& recipe) {
    if (slot.is_parameter || recipe.op != Recipe::Op::tensor) return false;
    const TensorView& there = *checkpoint_->find(recipe.name);
    const auto kind = legacy_tensor(there);
    if (slot.tensor.is_floating_point() && (!kind || model_.external.contains(slot.name))) return false;
    if (!agrees_with_own(there, kind, slot.tensor))
      problems_.add(
          "other values than the model's own buffer, which a checkpoint does not replace: export the model again",
          fmt::format("{}: {} {} in the file, {} in the model", recipe.name, there.dtype, shape_text(there.shape),
                      shape_text(slot.tensor.sizes())));
    return true;
  }

  void count(const TensorView& view, at::ScalarType target) {
    const auto type = *float_type(view.dtype);
    if (counted_.insert(view.name).second) elements_[type] += view.elements();
    if (type != target) cast_.insert(view.name);
  }

  /// One tensor of the model cannot take two different values.
  void check_twin(const Slot& slot, const Recipe& recipe) {
    const auto [twin, first] = filled_.emplace(identity(slot.name, slot.tensor), std::pair(slot.name, recipe));
    const auto& [name, other] = twin->second;
    if (first || other == recipe) return;
    if (!at::equal(assemble(other, *checkpoint_, slot.tensor.scalar_type()),
                   assemble(recipe, *checkpoint_, slot.tensor.scalar_type())))
      problems_.add("tied",
                    fmt::format("{} and {} are one tensor in the model, but differ in the file", name, slot.name));
  }

  /// Tied parameters share their memory; placeholders may share their element all the same, but a parameter that a file
  /// has in two places is one object.
  const void* identity(const std::string& name, const at::Tensor& tensor) const {
    return model_.external.contains(name) ? static_cast<const void*>(tensor.unsafeGetTensorImpl()) : tensor.data_ptr();
  }

  /// What the checkpoint lacks: filled through a tied twin, allowed, or a problem.
  void find_twins() {
    for (const Slot& slot : missing_) {
      const bool external = model_.external.contains(slot.name);
      const auto twin = std::find_if(matches_.begin(), matches_.end(), [&](const WeightMatch& match) {
        return identity(match.name, match.target) == identity(slot.name, slot.tensor) &&
               match.target.sizes() == slot.tensor.sizes();
      });
      if (twin != matches_.end()) {
        matches_.push_back({slot.name, slot.tensor, Recipe(twin->recipe), external});
        continue;
      }
      std::string what = slot.name;
      if (const auto entry = map_.find(slot.name); entry != map_.end() && describe(entry->second) != slot.name)
        what += fmt::format(" (made of {})", describe(entry->second));
      if (external && matches_any(request_.allow_missing, slot.name))
        problems_.add("missing, and cannot be allowed to be: the model file holds no value", what);
      else if (!matches_any(request_.allow_missing, slot.name))
        problems_.add("missing, allow with --allow-missing GLOB", what);
    }
  }

  void check_unused() {
    std::map<std::string, int> fills;  // tensor -> parameters that it is
    for (const auto& [name, recipe] : recipes_)
      if (recipe.op == Recipe::Op::tensor) ++fills[recipe.name];
    for (const TensorView* tensor : checkpoint_->tensors()) {
      if (used_.contains(tensor->name) || matches_any(request_.allow_unexpected, tensor->name)) continue;
      if (ignored_.contains(tensor->name) || legacy_tensor(*tensor)) continue;
      // A copy of a tied tensor under the parameter's own name.
      const auto own = std::find_if(recipes_.begin(), recipes_.end(), [&](const auto& entry) {
        if (entry.second.op != Recipe::Op::tensor || fills.at(entry.second.name) < 2) return false;
        return entry.first == tensor->name || of_names_.in_file(entry.first) == tensor->name ||
               (tensor->name.find('.') != std::string::npos && entry.first.ends_with("." + tensor->name));
      });
      if (own != recipes_.end()) {
        if (!same_bytes(*tensor, *checkpoint_->find(own->second.name)))
          problems_.add("tied", fmt::format("{} and {} are one tensor in the model, but differ in the file",
                                            tensor->name, own->second.name));
      } else if (float_type(tensor->dtype)) {
        problems_.add("unexpected, allow with --allow-unexpected GLOB", tensor->name);
      } else {
        problems_.add("unexpected, and of another dtype than F32, F16, BF16 or F64 (quantised?)",
                      fmt::format("{}: {}", tensor->name, tensor->dtype));
      }
    }
  }

  std::string dtype() const {
    const auto most = std::max_element(elements_.begin(), elements_.end(),
                                       [](const auto& a, const auto& b) { return a.second < b.second; });
    return most == elements_.end() ? model_.dtype : dtype_name(most->first);
  }

  const LoadedModel& model_;
  const WeightsRequest& request_;
  std::shared_ptr<const Checkpoint> checkpoint_;
  std::vector<Slot> slots_, missing_;
  WeightMap map_;
  IgnoredTensors ignored_;
  Naming of_names_;                                  ///< of parameters that the map does not know
  std::unordered_map<std::string, Recipe> recipes_;  ///< by parameter
  std::vector<WeightMatch> matches_;
  std::set<std::string> used_, counted_, cast_;  ///< tensors of the checkpoint
  std::map<at::ScalarType, std::int64_t> elements_;
  std::unordered_map<const void*, std::pair<std::string, Recipe>> filled_;  ///< identity -> what fills it
  WeightProblems problems_;
};

}  // namespace

std::optional<at::ScalarType> float_type(const std::string& dtype) {
  static const std::map<std::string, at::ScalarType> types{
      {"F32", at::kFloat}, {"BF16", at::kBFloat16}, {"F16", at::kHalf}, {"F64", at::kDouble}};
  const auto it = types.find(dtype);
  return it == types.end() ? std::nullopt : std::optional(it->second);
}

MatchedWeights match_weights(const LoadedModel& model, const WeightsRequest& request) {
  Matcher matcher(model, request);  // first: a file that is none at all is the clearer message
  check_config(model, request.path, request.allow_config);
  return matcher.run();
}

}  // namespace sinkscope
