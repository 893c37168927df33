#include "model/load_model.h"

#include <ATen/Functions.h>
#include <caffe2/serialize/inline_container.h>
#include <fmt/format.h>
#include <torch/csrc/jit/serialization/import.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <new>
#include <set>
#include <unordered_set>

#include "base/error.h"
#include "base/sha256.h"

namespace sinkscope {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr const char* kHowToExport = "Export the model with scripts/export_hf.py, or torch.jit.trace(...).save(...).";

std::string first_bytes(const std::string& path, std::size_t count) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw InputError(fmt::format("{}: cannot be opened for reading.", path));
  std::string bytes(count, '\0');
  file.read(bytes.data(), static_cast<std::streamsize>(count));
  bytes.resize(static_cast<std::size_t>(file.gcount()));
  return bytes;
}

/// Refuses what is recognisably something else, before libtorch gives a less helpful message.
void check_is_torchscript(const std::string& path) {
  std::error_code code;
  if (!fs::exists(path, code)) throw InputError(fmt::format("{}: no such file.", path));
  if (fs::is_directory(path, code))
    throw InputError(fmt::format("{}: a directory, not a TorchScript file. {}", path, kHowToExport));
  const std::string head = first_bytes(path, 16);
  if (head.empty()) throw InputError(fmt::format("{}: the file is empty. {}", path, kHowToExport));
  if (head.size() > 8 && head[8] == '{')
    throw InputError(
        fmt::format("{}: a safetensors file holds weights only. Give the graph as MODEL and this file with "
                    "--weights. {}",
                    path, kHowToExport));
  if (head[0] == '\x80')
    throw InputError(
        fmt::format("{}: a pickled Python object (a state dict?), not TorchScript. {}", path, kHowToExport));
  if (head.substr(0, 4) != "PK\x03\x04")
    throw InputError(
        fmt::format("{}: not a TorchScript archive (it does not begin as a zip file). {}", path, kHowToExport));
  std::vector<std::string> records;
  try {
    caffe2::serialize::PyTorchStreamReader reader(path);
    records = reader.getAllRecords();
  } catch (const std::exception& error) {
    if (std::string(error.what()).find("not in a subdirectory") != std::string::npos)
      throw InputError(fmt::format("{}: a zip file, but not a TorchScript archive. {}", path, kHowToExport));
    throw InputError(
        fmt::format("{}: the archive is damaged or truncated ({}). Copy or export it again.", path, cause_of(error)));
  }
  const auto has = [&](auto&& test) { return std::any_of(records.begin(), records.end(), test); };
  const bool code_inside = has([](const std::string& r) { return r.rfind("code/", 0) == 0; });
  if (!code_inside) {
    const bool exported = has([](const std::string& r) { return r.find("models/") != std::string::npos; });
    throw InputError(fmt::format(
        "{}: {}, not TorchScript: the archive holds no code. {}", path,
        exported ? "a torch.export package" : "a torch.save file (a state dict or pickled module)", kHowToExport));
  }
}

void read_metadata(LoadedModel& model, const std::string& text) {
  if (text.empty()) return;
  try {
    model.metadata = ordered_json::parse(text);
  } catch (const std::exception& error) {
    throw InputError(
        fmt::format("{}: sinkscope.json inside the archive is not valid JSON ({}).", model.path, error.what()));
  }
  if (!model.metadata.is_object())
    throw InputError(fmt::format("{}: sinkscope.json inside the archive is not a JSON object.", model.path));
  if (const auto format = model.metadata.find("format");
      format != model.metadata.end() && format->is_number_integer() && format->get<int>() > 1)
    throw InputError(fmt::format("{}: sinkscope.json has format {}; this version reads 1. Update sinkscope.",
                                 model.path, format->get<int>()));
}

void count_parameters(LoadedModel& model) {
  std::unordered_set<const void*> seen;
  std::map<std::string, std::int64_t> elements_by_dtype;
  for (const auto& p : model.module.named_parameters()) {
    const at::Tensor& t = p.value;
    if (is_placeholder(t)) {
      model.external.insert(p.name);
    } else if (!seen.insert(t.data_ptr()).second) {
      continue;
    }
    model.parameters += t.numel();
    if (t.is_floating_point()) elements_by_dtype[dtype_name(t.scalar_type())] += t.numel();
  }
  model.external_weights = !model.external.empty();
  if (model.external_weights)
    for (const auto& b : model.module.named_buffers())
      if (is_placeholder(b.value)) model.external.insert(b.name);
  std::int64_t most = -1;
  for (const auto& [name, elements] : elements_by_dtype)
    if (elements > most) std::tie(model.dtype, most) = std::tie(name, elements);
  if (model.dtype.empty()) model.dtype = "float32";
}

/// Integer at a dotted place of the metadata, if there.
std::optional<std::int64_t> integer_at(const ordered_json& json, std::initializer_list<const char*> path) {
  const ordered_json* here = &json;
  for (const char* key : path) {
    if (!here->is_object() || !here->contains(key)) return std::nullopt;
    here = &(*here)[key];
  }
  return here->is_number_integer() ? std::optional(here->get<std::int64_t>()) : std::nullopt;
}

}  // namespace

bool is_placeholder(const at::Tensor& tensor) {
  return tensor.numel() > 1 && tensor.storage().nbytes() <= static_cast<std::size_t>(tensor.element_size());
}

at::Tensor placeholder(at::IntArrayRef shape, at::ScalarType type) {
  const at::Tensor element = at::zeros({1}, at::TensorOptions(type));
  return shape.empty() ? element.select(0, 0) : element.expand(shape);
}

std::string dtype_name(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return "float32";
    case at::kDouble:
      return "float64";
    case at::kHalf:
      return "float16";
    case at::kBFloat16:
      return "bfloat16";
    default:
      return c10::toString(type);
  }
}

std::string cause_of(const std::exception& error) {
  std::string text = error.what();
  // A C++ backtrace follows the message of a c10::Error.
  for (const char* marker : {"\nException raised from", "\nframe #0"})
    if (const auto at = text.find(marker); at != std::string::npos) text.resize(at);
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  const auto last = text.find_last_of('\n');
  std::string line = last == std::string::npos ? text : text.substr(last + 1);
  // "[enforce fail at inline_container.cc:180] . what happened"
  if (line.rfind("[enforce fail", 0) == 0)
    if (const auto end = line.find("] . "); end != std::string::npos) line = line.substr(end + 4);
  if (const auto prefix = line.find("RuntimeError: "); prefix != std::string::npos) line = line.substr(prefix + 14);
  return line;
}

bool is_out_of_memory(const std::exception& error) {
  const std::string what = error.what();
  return dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr ||
         dynamic_cast<const std::bad_alloc*>(&error) != nullptr ||
         what.find("CUDA out of memory") != std::string::npos ||
         what.find("can't allocate memory") != std::string::npos;
}

std::optional<std::int64_t> LoadedModel::vocabulary() const { return integer_at(metadata, {"vocabulary"}); }

std::optional<std::int64_t> LoadedModel::attention_sites() const { return integer_at(metadata, {"attention_sites"}); }

std::optional<std::int64_t> LoadedModel::positions() const {
  if (const auto value = integer_at(metadata, {"positions"})) return value;
  for (const char* key : {"max_position_embeddings", "n_positions", "max_seq_len", "positions"})
    if (const auto value = integer_at(metadata, {"config", key}); value && *value > 0) return value;
  return std::nullopt;
}

LoadedModel load_model(const std::string& path, const std::optional<std::string>& known_sha256) {
  check_is_torchscript(path);
  LoadedModel model;
  model.path = path;
  torch::jit::ExtraFilesMap extra{{"sinkscope.json", ""}};
  try {
    model.module = torch::jit::load(path, at::Device(at::kCPU), extra);
  } catch (const std::exception& error) {
    const std::string cause = cause_of(error);
    const bool unknown_op = std::string(error.what()).find("Unknown builtin op") != std::string::npos;
    throw InputError(fmt::format("{}: libtorch cannot load the archive: {}. {}", path, cause,
                                 unknown_op ? "The graph uses a custom operator that this sinkscope does not know."
                                            : "It may be damaged or written by a newer torch; export it again."));
  }
  model.module.eval();
  model.sha256 = known_sha256 ? *known_sha256 : sha256_of_file(path);
  read_metadata(model, extra["sinkscope.json"]);
  count_parameters(model);
  return model;
}

}  // namespace sinkscope
