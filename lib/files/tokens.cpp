#include "files/tokens.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "base/sha256.h"
#include "files/ending.h"
#include "files/mapped_file.h"
#include "files/npy.h"
#include "files/safetensors.h"

namespace sinkscope {
namespace {

/// Values of a two-dimensional integer array, row by row.
class IntegerRows {
 public:
  /// `type` is a name of bits and sign: i4, i8, u1, ...
  IntegerRows(const std::string& what, const std::string& type, const std::vector<std::int64_t>& shape,
              std::span<const std::byte> bytes, const std::vector<std::string>& allowed)
      : what_(what), type_(type), bytes_(bytes) {
    if (std::find(allowed.begin(), allowed.end(), type) == allowed.end())
      throw InputError(
          fmt::format("{}: holds elements of type {}; one of {} is needed", what, type, fmt::join(allowed, ", ")));
    if (shape.size() != 2)
      throw InputError(fmt::format("{}: has shape {}; [sequences, positions] is needed{}", what, shape,
                                   shape.size() == 1 ? " (one sequence: save ids[None, :])" : ""));
    rows_ = shape[0];
    columns_ = shape[1];
  }

  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }

  std::vector<std::int64_t> row(std::int64_t index) const {
    std::vector<std::int64_t> values(static_cast<std::size_t>(columns_));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = at(static_cast<std::size_t>(index) * values.size() + i);
    return values;
  }

 private:
  template <class T>
  std::int64_t load(std::size_t index) const {
    T value{};
    std::memcpy(&value, bytes_.data() + index * sizeof(T), sizeof(T));
    return static_cast<std::int64_t>(value);
  }
  std::int64_t at(std::size_t index) const {
    if (type_ == "i8") return load<std::int64_t>(index);
    if (type_ == "i4") return load<std::int32_t>(index);
    return load<std::uint8_t>(index);  // u1, b1: only masks
  }

  std::string what_, type_;
  std::span<const std::byte> bytes_;
  std::int64_t rows_ = 0, columns_ = 0;
};

const std::vector<std::string> kIdTypes = {"i4", "i8"};
const std::vector<std::string> kMaskTypes = {"i4", "i8", "u1", "b1"};

std::vector<TokenRow> rows_of(const IntegerRows& ids, const IntegerRows* mask, const std::string& name,
                              std::optional<std::int64_t> limit) {
  std::vector<TokenRow> rows;
  for (std::int64_t i = 0; i < std::min(ids.rows(), limit.value_or(ids.rows())); ++i) {
    TokenRow row{.ids = ids.row(i), .where = fmt::format("{}: row {}", name, i)};
    if (mask) row.ids = without_padding(row.ids, mask->row(i), row.where);
    if (row.ids.empty()) throw InputError(fmt::format("{}: an empty sequence", row.where));
    const auto bad = std::find_if(row.ids.begin(), row.ids.end(), [](std::int64_t id) { return id < 0; });
    if (bad != row.ids.end())
      throw InputError(fmt::format("{}: id {} at position {} is negative", row.where, *bad, bad - row.ids.begin()));
    rows.push_back(std::move(row));
  }
  return rows;
}

std::string type_of(const TensorView& tensor) {
  if (tensor.dtype == "I64") return "i8";
  if (tensor.dtype == "I32") return "i4";
  if (tensor.dtype == "U8") return "u1";
  if (tensor.dtype == "BOOL") return "b1";
  return tensor.dtype;
}

std::vector<TokenRow> read_safetensors_tokens(const std::string& path, std::optional<std::int64_t> limit,
                                              bool& masked) {
  const SafetensorsFile file(path);
  const TensorView* ids = file.find("input_ids");
  const TensorView* mask = file.find("attention_mask");
  if (!ids) throw InputError(fmt::format("{}: has no tensor input_ids", path));
  const IntegerRows id_rows(path + ": input_ids", type_of(*ids), ids->shape, ids->bytes, kIdTypes);
  if (!mask) return rows_of(id_rows, nullptr, path, limit);
  masked = true;
  const IntegerRows mask_rows(path + ": attention_mask", type_of(*mask), mask->shape, mask->bytes, kMaskTypes);
  if (mask->shape != ids->shape)
    throw InputError(fmt::format("{}: attention_mask has shape {}, input_ids {}", path, mask->shape, ids->shape));
  return rows_of(id_rows, &mask_rows, path, limit);
}

void read_sidecar(TokenFile& tokens) {
  const std::string path = tokens.path + ".meta.json";
  if (tokens.path == "-" || !std::filesystem::exists(path)) return;
  try {
    tokens.sidecar = nlohmann::ordered_json::parse(read_text(path));
  } catch (const nlohmann::json::exception&) {
    throw InputError(fmt::format("{}: not JSON; delete it, or make it again with scripts/tokenize_hf.py", path));
  }
  if (!tokens.sidecar.is_object()) throw InputError(fmt::format("{}: holds no JSON object", path));
  const auto hash = tokens.sidecar.find("file_sha256");
  tokens.sidecar_is_of_another_file = hash != tokens.sidecar.end() && hash->is_string() && *hash != tokens.file_sha256;
}

}  // namespace

std::vector<std::int64_t> without_padding(const std::vector<std::int64_t>& ids, const std::vector<std::int64_t>& mask,
                                          const std::string& where) {
  if (mask.size() != ids.size())
    throw InputError(fmt::format("{}: attention_mask has {} entries for {} ids", where, mask.size(), ids.size()));
  const auto real = [](std::int64_t flag) { return flag != 0; };
  const auto odd = std::find_if(mask.begin(), mask.end(), [](std::int64_t flag) { return flag != 0 && flag != 1; });
  if (odd != mask.end())
    throw InputError(fmt::format("{}: attention_mask holds {} at position {}; 0 and 1 are allowed", where, *odd,
                                 odd - mask.begin()));
  const auto begin = std::find_if(mask.begin(), mask.end(), real);
  if (begin == mask.end()) throw InputError(fmt::format("{}: attention_mask leaves no id", where));
  const auto end = std::find_if(mask.rbegin(), mask.rend(), real).base();
  const auto hole = std::find(begin, end, 0);
  if (hole != end)
    throw InputError(
        fmt::format("{}: attention_mask has a hole at position {}; only padding at the ends can be removed", where,
                    hole - mask.begin()));
  return {ids.begin() + (begin - mask.begin()), ids.begin() + (end - mask.begin())};
}

TokenFile read_tokens(const std::string& path, std::optional<std::int64_t> limit) {
  namespace fs = std::filesystem;
  TokenFile tokens;
  tokens.path = path;
  const std::string ending = ending_of(path);
  std::error_code error;
  const bool pipe =
      path == "-" || (fs::exists(path, error) && !fs::is_regular_file(path, error) && !fs::is_directory(path, error));
  if (ending == ".npy" && !pipe) {
    const NpyFile file(path);
    tokens.file_sha256 = Sha256().update(file.file.bytes()).hex();
    tokens.rows = rows_of(IntegerRows(path, file.descr, file.shape, file.bytes, kIdTypes), nullptr, path, limit);
  } else if (ending == ".safetensors" && !pipe) {
    tokens.rows = read_safetensors_tokens(path, limit, tokens.masked);
    tokens.file_sha256 = sha256_of_file(path);
  } else if (ending == ".jsonl" || pipe) {
    const std::string text = read_text(path);
    tokens.file_sha256 = sha256_of(text);
    tokens.rows = parse_jsonl_tokens(text, path == "-" ? "stdin" : path, limit, tokens.masked);
  } else if (!fs::exists(path, error)) {
    throw InputError(fmt::format("{}: cannot be read: there is no such file", path));
  } else {
    throw UsageError(
        fmt::format("{}: --tokens takes a .jsonl, .npy or .safetensors file of token ids, or -. "
                    "scripts/tokenize_hf.py makes one from text.",
                    path));
  }
  if (tokens.rows.empty())
    throw InputError(fmt::format("{}: holds no sequence of token ids", path == "-" ? "stdin" : path));
  read_sidecar(tokens);
  return tokens;
}

}  // namespace sinkscope
