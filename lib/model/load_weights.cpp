#include "model/load_weights.h"

#include <ATen/Functions.h>
#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <map>
#include <optional>
#include <unordered_map>

#include "base/error.h"
#include "files/safetensors.h"

namespace sinkscope {
namespace {

constexpr std::size_t kListed = 8;  // names listed per kind of problem

std::optional<at::ScalarType> float_type(const std::string& dtype) {
  static const std::map<std::string, at::ScalarType> types{
      {"F32", at::kFloat}, {"BF16", at::kBFloat16}, {"F16", at::kHalf}, {"F64", at::kDouble}};
  const auto it = types.find(dtype);
  return it == types.end() ? std::nullopt : std::optional(it->second);
}

bool matches_any(const std::vector<std::string>& globs, const std::string& name) {
  return std::any_of(globs.begin(), globs.end(),
                     [&](const auto& g) { return fnmatch(g.c_str(), name.c_str(), 0) == 0; });
}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kListed); ++i) text += "\n  " + names[i];
  if (names.size() > kListed) text += fmt::format("\n  ... and {} more", names.size() - kListed);
  return text;
}

struct Slot {
  std::string name;
  at::Tensor tensor;
};

/// Number of model names that the file has when `prefix` is put before them (or, negative sense, stripped from the
/// file's).
struct Naming {
  std::string add, strip;
  std::string in_file(const std::string& model_name) const {
    if (!strip.empty())
      return model_name.compare(0, strip.size(), strip) == 0 ? model_name.substr(strip.size()) : model_name;
    return add + model_name;
  }
};

/// The naming under which most parameters are found: exact, or one common prefix more or less.
Naming find_naming(const std::vector<Slot>& slots, const SafetensorsFile& file) {
  std::vector<Naming> candidates{{}};
  for (const Slot& slot : slots)
    for (auto dot = slot.name.find('.'); dot != std::string::npos; dot = slot.name.find('.', dot + 1)) {
      const Naming shorter{"", slot.name.substr(0, dot + 1)};
      if (file.find(shorter.in_file(slot.name)) != nullptr) candidates.push_back(shorter);
    }
  for (const TensorView& tensor : file.tensors())
    for (auto dot = tensor.name.find('.'); dot != std::string::npos; dot = tensor.name.find('.', dot + 1)) {
      const std::string rest = tensor.name.substr(dot + 1);
      if (std::any_of(slots.begin(), slots.end(), [&](const Slot& s) { return s.name == rest; }))
        candidates.push_back({tensor.name.substr(0, dot + 1), ""});
    }
  std::map<std::pair<std::string, std::string>, std::int64_t> tried;
  Naming best;
  std::int64_t most = -1;
  for (const Naming& naming : candidates) {
    if (!tried.emplace(std::pair(naming.add, naming.strip), 0).second) continue;
    const auto found = std::count_if(slots.begin(), slots.end(),
                                     [&](const Slot& s) { return file.find(naming.in_file(s.name)) != nullptr; });
    if (found > most) best = naming, most = found;
  }
  return best;
}

bool is_placeholder(const at::Tensor& t) {
  return t.numel() > 1 && t.storage().nbytes() <= static_cast<std::size_t>(t.element_size());
}

void replace(torch::jit::Module module, const std::string& name, const at::Tensor& value) {
  std::string rest = name;
  for (auto dot = rest.find('.'); dot != std::string::npos; dot = rest.find('.')) {
    module = module.attr(rest.substr(0, dot)).toModule();
    rest = rest.substr(dot + 1);
  }
  module.setattr(rest, value);
}

}  // namespace

LoadedWeights load_weights(LoadedModel& model, const WeightsRequest& request) {
  const SafetensorsFile file(request.path);
  std::vector<Slot> parameters, buffers;
  for (const auto& p : model.module.named_parameters()) parameters.push_back({p.name, p.value});
  for (const auto& b : model.module.named_buffers()) buffers.push_back({b.name, b.value});
  const Naming naming = find_naming(parameters, file);

  struct Copy {
    std::string name;
    at::Tensor target, source;
  };
  std::vector<Copy> copies;
  std::vector<std::string> missing, misshapen, refused, unexpected, conflicting;
  std::unordered_map<const void*, const Copy*> filled;  // storage -> what fills it
  std::map<std::string, bool> used;
  std::map<at::ScalarType, std::int64_t> dtypes;
  LoadedWeights loaded;
  copies.reserve(parameters.size() + buffers.size());
  const auto take = [&](const Slot& slot, bool required) {
    const std::string in_file = naming.in_file(slot.name);
    const TensorView* view = file.find(in_file);
    if (view == nullptr) {
      if (required) missing.push_back(slot.name);
      return;
    }
    used[in_file] = true;
    const auto type = float_type(view->dtype);
    if (!type) {
      if (slot.tensor.is_floating_point()) refused.push_back(fmt::format("{}: {}", in_file, view->dtype));
      return;  // integer and bool buffers (masks of old checkpoints) stay the graph's own
    }
    if (!std::equal(view->shape.begin(), view->shape.end(), slot.tensor.sizes().begin(), slot.tensor.sizes().end())) {
      misshapen.push_back(fmt::format("{}: [{}] in the file, [{}] in the model", in_file, fmt::join(view->shape, ", "),
                                      fmt::join(slot.tensor.sizes(), ", ")));
      return;
    }
    // Bytes of a safetensors file need not be aligned: copied once into a tensor that is.
    at::Tensor source = at::empty(view->shape, at::TensorOptions(*type));
    std::copy(view->bytes.begin(), view->bytes.end(), static_cast<std::byte*>(source.mutable_data_ptr()));
    ++dtypes[*type];
    if (*type != slot.tensor.scalar_type()) ++loaded.casts;
    if (const auto twin = filled.find(slot.tensor.data_ptr());
        twin != filled.end() && !is_placeholder(slot.tensor) && !at::equal(twin->second->source, source))
      conflicting.push_back(
          fmt::format("{} and {} are one tensor in the model, but differ in the file", twin->second->name, slot.name));
    copies.push_back({slot.name, slot.tensor, std::move(source)});
    filled.emplace(slot.tensor.data_ptr(), &copies.back());
  };
  for (const Slot& slot : parameters) take(slot, true);
  for (const Slot& slot : buffers) take(slot, false);

  std::erase_if(missing, [&](const std::string& name) {
    if (matches_any(request.allow_missing, name)) return true;
    const auto slot = std::find_if(parameters.begin(), parameters.end(), [&](const Slot& s) { return s.name == name; });
    return !is_placeholder(slot->tensor) && filled.count(slot->tensor.data_ptr()) > 0;  // tied
  });
  for (const TensorView& tensor : file.tensors())
    if (!used[tensor.name] && !matches_any(request.allow_unexpected, tensor.name)) unexpected.push_back(tensor.name);

  std::string problems;
  const auto report = [&](const char* what, const std::vector<std::string>& names) {
    if (!names.empty()) problems += fmt::format("\n{} ({}):{}", what, names.size(), listed(names));
  };
  report("missing, allow with --allow-missing GLOB", missing);
  report("unexpected, allow with --allow-unexpected GLOB", unexpected);
  report("other shape", misshapen);
  report("other dtype than F32, F16, BF16 or F64", refused);
  report("tied", conflicting);
  if (!problems.empty())
    throw InputError(fmt::format("{}: the tensors do not fit the model {}.{}", request.path, model.path, problems));

  const at::NoGradGuard no_grad;
  for (const Copy& copy : copies) {
    if (is_placeholder(copy.target))
      replace(model.module, copy.name, copy.source.to(copy.target.scalar_type()));
    else
      copy.target.copy_(copy.source);
  }
  std::vector<const TensorView*> views;
  for (const TensorView& tensor : file.tensors()) views.push_back(&tensor);
  loaded.sha256 = weights_sha256(views);
  const auto most =
      std::max_element(dtypes.begin(), dtypes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  loaded.dtype = most == dtypes.end() ? model.dtype : dtype_name(most->first);
  return loaded;
}

}  // namespace sinkscope
