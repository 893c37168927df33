#include "files/npy.h"

#include <fmt/core.h>

#include <cctype>
#include <charconv>
#include <cstring>
#include <optional>
#include <string_view>

#include "base/error.h"

namespace sinkscope {
namespace {

/// The header is the text of a Python dict with three keys: {'descr': '<i8', 'fortran_order': False, 'shape': (3, 4), }
class HeaderText {
 public:
  explicit HeaderText(std::string_view text) : text_(text) {}

  bool take(char wanted) {
    skip_spaces();
    if (text_.empty() || text_.front() != wanted) return false;
    text_.remove_prefix(1);
    return true;
  }
  bool take(std::string_view word) {
    skip_spaces();
    if (!text_.starts_with(word)) return false;
    text_.remove_prefix(word.size());
    return true;
  }
  std::optional<std::string> take_string() {
    skip_spaces();
    if (text_.empty() || (text_.front() != '\'' && text_.front() != '"')) return std::nullopt;
    const std::size_t end = text_.find(text_.front(), 1);
    if (end == std::string_view::npos) return std::nullopt;
    std::string value(text_.substr(1, end - 1));
    text_.remove_prefix(end + 1);
    return value;
  }
  std::optional<std::int64_t> take_size() {
    skip_spaces();
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), value);
    if (error != std::errc{} || value < 0) return std::nullopt;
    text_.remove_prefix(static_cast<std::size_t>(end - text_.data()));
    return value;
  }

 private:
  void skip_spaces() {
    while (!text_.empty() && std::isspace(static_cast<unsigned char>(text_.front()))) text_.remove_prefix(1);
  }
  std::string_view text_;
};

struct Header {
  std::optional<std::string> descr;
  std::optional<bool> fortran_order;
  std::optional<std::vector<std::int64_t>> shape;
  bool structured = false;  ///< descr is a list of fields
};

std::optional<std::vector<std::int64_t>> take_shape(HeaderText& text) {
  if (!text.take('(')) return std::nullopt;
  std::vector<std::int64_t> shape;
  while (!text.take(')')) {
    const auto size = text.take_size();
    if (!size) return std::nullopt;
    shape.push_back(*size);
    text.take('L');  // Python 2 wrote long integers as 3L
    if (!text.take(',')) return text.take(')') ? std::optional(shape) : std::nullopt;
  }
  return shape;
}

std::optional<Header> parse(std::string_view bytes) {
  HeaderText text(bytes);
  Header header;
  if (!text.take('{')) return std::nullopt;
  while (!text.take('}')) {
    const auto key = text.take_string();
    if (!key || !text.take(':')) return std::nullopt;
    if (*key == "descr") {
      header.descr = text.take_string();
      header.structured = !header.descr && text.take('[');
      if (header.structured) return header;
      if (!header.descr) return std::nullopt;
    } else if (*key == "fortran_order") {
      if (text.take("True")) {
        header.fortran_order = true;
      } else if (text.take("False")) {
        header.fortran_order = false;
      }
      if (!header.fortran_order) return std::nullopt;
    } else if (*key == "shape") {
      header.shape = take_shape(text);
      if (!header.shape) return std::nullopt;
    } else {
      return std::nullopt;
    }
    text.take(',');
  }
  if (!header.descr || !header.fortran_order || !header.shape) return std::nullopt;
  return header;
}

}  // namespace

NpyFile::NpyFile(const std::string& path) : file(path) {
  const auto fail = [&](const std::string& what) { throw InputError(fmt::format("{}: {}", path, what)); };
  const std::string_view text = file.text();
  constexpr std::string_view kMagic = "\x93NUMPY";
  if (!text.starts_with(kMagic)) fail("not a .npy file (its first bytes are not \\x93NUMPY)");
  if (text.size() < 12) fail("truncated .npy file");
  const int version = static_cast<unsigned char>(text[6]);
  if (version < 1 || version > 3)
    fail(fmt::format(".npy version {} is not supported; numpy.save writes 1 to 3", version));
  // Version 1 has a header length of two bytes, later ones of four.
  std::uint32_t length = 0;
  std::memcpy(&length, text.data() + 8, version == 1 ? 2 : 4);
  const std::size_t begin = version == 1 ? 10 : 12;
  if (length > text.size() - begin) fail("truncated .npy file (in its header)");

  const auto header = parse(text.substr(begin, length));
  if (!header) fail("damaged .npy header");
  if (header->structured) fail("holds records; save a plain array");
  if (*header->fortran_order && header->shape->size() > 1)
    fail("is in Fortran order; save numpy.ascontiguousarray(array) instead");
  descr = *header->descr;
  if (descr.size() < 3 || descr[1] == 'O')
    fail(fmt::format("holds elements of type '{}'; save a plain array of numbers", descr));
  const char order = descr[0];
  descr.erase(0, 1);
  std::int64_t size = 0;
  const auto [end, error] = std::from_chars(descr.data() + 1, descr.data() + descr.size(), size);
  if (error != std::errc{} || end != descr.data() + descr.size() || size <= 0 || size > 32)
    fail(fmt::format("holds elements of the unknown type '{}'", *header->descr));
  if (order == '>' && size > 1) fail("is big endian; save array.astype(array.dtype.newbyteorder('<')) instead");

  shape = *header->shape;
  std::int64_t expected = size;
  for (const std::int64_t dimension : shape)
    if (__builtin_mul_overflow(expected, dimension, &expected)) fail("its shape has too many elements");
  bytes = file.bytes().subspan(begin + length);
  if (static_cast<std::uint64_t>(expected) != bytes.size())
    fail(fmt::format("truncated or damaged: its shape needs {} bytes, it holds {}", expected, bytes.size()));
}

}  // namespace sinkscope
