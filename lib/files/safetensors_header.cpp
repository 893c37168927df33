#include "files/safetensors_header.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <utility>

#include "base/error.h"

namespace sinkscope {
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "files are read and written as they lie in memory");

/// The limit of the reference implementation. A larger number is a file of another kind, whose first bytes are no
/// length.
constexpr std::uint64_t kMaxHeader = 100'000'000;

/// Tensors lie in the header, shapes in a tensor.
constexpr int kMaxDepth = 3;

constexpr std::array<std::pair<std::string_view, std::int64_t>, 20> kDtypes{{
    {"BOOL", 8},    {"U8", 8},      {"I8", 8},   {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F4", 4},
    {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"I16", 16}, {"U16", 16},    {"F16", 16},    {"BF16", 16},   {"I32", 32},
    {"U32", 32},    {"F32", 32},    {"I64", 64}, {"U64", 64},    {"F64", 64},    {"C64", 64},
}};

class HeaderReader {
 public:
  HeaderReader(const std::string& path, std::span<const std::byte> bytes) : path_(path), bytes_(bytes) {}

  std::vector<TensorView> read(std::map<std::string, std::string>& metadata) {
    const json header = parse(header_text());
    std::vector<TensorView> tensors;
    for (const auto& [name, entry] : header.items()) {
      if (name == "__metadata__") {
        read_metadata(entry, metadata);
      } else {
        tensors.push_back(read_tensor(name, entry));
      }
    }
    check_ranges(tensors);
    return tensors;  // json sorts its keys, so this is alphabetical order
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw InputError(fmt::format("{}: not a valid safetensors file: {}", path_, what));
  }
  [[noreturn]] void fail(const std::string& tensor, const std::string& what) const {
    throw InputError(fmt::format("{}: tensor {}: {}", path_, in_quotes(tensor), what));
  }

  std::string_view header_text() {
    if (bytes_.size() < 8)
      fail(fmt::format("{} bytes are too few for a header; is the download complete?", bytes_.size()));
    std::uint64_t length = 0;
    std::memcpy(&length, bytes_.data(), sizeof length);
    if (std::string_view(reinterpret_cast<const char*>(bytes_.data()), bytes_.size())
            .starts_with("version https://git"))
      fail("a Git LFS pointer, which only names the file; fetch the file itself (git lfs pull)");
    if (length > kMaxHeader) fail(fmt::format("a header of {} bytes; this is a file of another kind", length));
    if (length > bytes_.size() - 8)
      fail(fmt::format("truncated: a header of {} bytes in a file of {}; is the download complete?", length,
                       bytes_.size()));
    data_ = bytes_.subspan(8 + static_cast<std::size_t>(length));
    return {reinterpret_cast<const char*>(bytes_.data()) + 8, static_cast<std::size_t>(length)};
  }

  /// JSON parsers keep the last of two equal keys; here the second one is an error.
  json parse(std::string_view text) const {
    std::vector<std::set<std::string>> open;
    std::string duplicate;
    const json::parser_callback_t watch = [&](int depth, json::parse_event_t event, json& value) {
      if (depth > kMaxDepth) fail("the header is nested too deep");
      if (event == json::parse_event_t::object_start) open.emplace_back();
      if (event == json::parse_event_t::object_end) open.pop_back();
      if (event == json::parse_event_t::key && !open.back().insert(value.get<std::string>()).second)
        duplicate = value.get<std::string>();
      return true;
    };
    if (text.empty() || text.front() != '{') fail("the header is not a JSON object");
    json header;
    try {
      header = json::parse(text, watch);
    } catch (const json::exception& error) {
      fail(fmt::format("the header is not JSON ({})", error.what()));
    }
    if (!duplicate.empty()) fail(fmt::format("{} is in the header twice", in_quotes(duplicate)));
    return header;
  }

  void read_metadata(const json& entry, std::map<std::string, std::string>& metadata) const {
    if (!entry.is_object()) fail("__metadata__ is not an object");
    for (const auto& [key, value] : entry.items()) {
      if (!value.is_string()) fail(fmt::format("__metadata__ entry {} is not text", in_quotes(key)));
      metadata[key] = value.get<std::string>();
    }
  }

  /// A size that fits int64; the JSON parser turns larger numbers into floating point.
  std::int64_t size_in(const std::string& tensor, const json& value, const char* what) const {
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() > INT64_MAX)
      fail(tensor, fmt::format("{} {} is not a size", what, value.dump()));
    return value.get<std::int64_t>();
  }

  TensorView read_tensor(const std::string& name, const json& entry) const {
    if (!entry.is_object() || !entry.contains("dtype") || !entry.contains("shape") || !entry.contains("data_offsets"))
      fail(name, "its header entry lacks dtype, shape or data_offsets");
    const json& dtype = entry["dtype"];
    const json& shape = entry["shape"];
    const json& offsets = entry["data_offsets"];
    if (!dtype.is_string()) fail(name, "dtype is not text");
    if (!shape.is_array()) fail(name, "shape is not a list");
    if (!offsets.is_array() || offsets.size() != 2) fail(name, "data_offsets is not a pair");

    TensorView tensor{.name = name, .dtype = dtype.get<std::string>(), .shape = {}, .bytes = {}, .file = nullptr};
    for (const json& dimension : shape) tensor.shape.push_back(size_in(name, dimension, "dimension"));
    const std::int64_t begin = size_in(name, offsets[0], "offset"), end = size_in(name, offsets[1], "offset");
    if (begin > end) fail(name, fmt::format("its bytes end ({}) before they begin ({})", end, begin));
    if (static_cast<std::uint64_t>(end) > data_.size())
      fail(name, fmt::format(
                     "its bytes [{}, {}) lie outside the file, which holds {} bytes of data; is the download complete?",
                     begin, end, data_.size()));
    tensor.bytes = data_.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
    check_size(tensor, end - begin);
    return tensor;
  }

  void check_size(const TensorView& tensor, std::int64_t bytes) const {
    std::int64_t elements = 1;
    for (const std::int64_t dimension : tensor.shape)
      if (__builtin_mul_overflow(elements, dimension, &elements))
        fail(tensor.name, fmt::format("its shape {} has too many elements", tensor.shape));
    const auto bits = bits_of(tensor.dtype);
    if (!bits) return;
    std::int64_t expected = 0;
    if (__builtin_mul_overflow(elements, *bits, &expected) || expected % 8 != 0 || expected / 8 != bytes)
      fail(tensor.name, fmt::format("{} {} does not fill its {} bytes", tensor.dtype, tensor.shape, bytes));
  }

  /// The format wants the data filled without holes: bytes that belong to no tensor could hide anything.
  void check_ranges(const std::vector<TensorView>& tensors) const {
    std::vector<const TensorView*> order;
    for (const TensorView& tensor : tensors) order.push_back(&tensor);
    const auto begin_of = [&](const TensorView* tensor) { return tensor->bytes.data() - data_.data(); };
    // An empty tensor before the one that begins where it lies.
    std::sort(order.begin(), order.end(), [&](const TensorView* a, const TensorView* b) {
      return std::pair(begin_of(a), a->bytes.size()) < std::pair(begin_of(b), b->bytes.size());
    });
    std::ptrdiff_t expected = 0;
    for (const TensorView* tensor : order) {
      const std::ptrdiff_t begin = begin_of(tensor);
      if (begin < expected) fail(tensor->name, fmt::format("its bytes from {} overlap those of another tensor", begin));
      if (begin > expected) fail(tensor->name, fmt::format("{} bytes before it belong to no tensor", begin - expected));
      expected = begin + static_cast<std::ptrdiff_t>(tensor->bytes.size());
    }
    if (static_cast<std::size_t>(expected) != data_.size())
      fail(fmt::format("the last {} bytes belong to no tensor", data_.size() - static_cast<std::size_t>(expected)));
  }

  const std::string& path_;
  std::span<const std::byte> bytes_, data_;
};

}  // namespace

std::int64_t TensorView::elements() const {
  std::int64_t product = 1;
  for (const std::int64_t dimension : shape) product *= dimension;
  return product;
}

void TensorView::read(std::size_t from, std::span<std::byte> out) const {
  if (from > bytes.size() || out.size() > bytes.size() - from) throw std::out_of_range(name);
  if (file == nullptr) {
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(from), out.size(), out.begin());
  } else {
    file->read(offset + from, out);
  }
}

std::string in_quotes(const std::string& text) {
  return json(text).dump(-1, ' ', true, json::error_handler_t::replace);
}

std::optional<std::int64_t> bits_of(std::string_view dtype) {
  for (const auto& [name, bits] : kDtypes)
    if (name == dtype) return bits;
  return std::nullopt;
}

std::vector<TensorView> read_safetensors_header(const std::string& path, std::span<const std::byte> bytes,
                                                std::map<std::string, std::string>& metadata) {
  return HeaderReader(path, bytes).read(metadata);
}

}  // namespace sinkscope
