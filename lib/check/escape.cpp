#include "check/escape.h"

#include <fmt/format.h>

#include <cstdint>

namespace sinkscope {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD

/// Bytes of the well-formed UTF-8 sequence at the start of `text` and its code point; 0 if there is none.
std::size_t sequence_at(std::string_view text, std::uint32_t& code) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  if (byte(0) < 0x80) return code = byte(0), 1;
  const std::size_t size = byte(0) >= 0xf0 ? 4 : byte(0) >= 0xe0 ? 3 : 2;
  if (byte(0) < 0xc2 || byte(0) > 0xf4 || text.size() < size) return 0;
  code = byte(0) & (0x7f >> size);
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    code = code << 6 | (byte(i) & 0x3f);
  }
  static constexpr std::uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xd800 && code <= 0xdfff;
  return code < least[size] || code > 0x10ffff || surrogate ? 0 : size;
}

/// Every character of `text` through `escape`, which gets its bytes and its code point.
template <class Escape>
std::string escaped(std::string_view text, Escape&& escape) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    std::uint32_t code = 0;
    const std::size_t size = sequence_at(text, code);
    if (size == 0) {
      result += kReplacement;
    } else {
      escape(result, text.substr(0, size), code);
    }
    text.remove_prefix(size == 0 ? 1 : size);
  }
  return result;
}

}  // namespace

std::string valid_utf8(std::string_view text) {
  return escaped(text, [](std::string& to, std::string_view bytes, std::uint32_t) { to += bytes; });
}

std::string xml_escaped(std::string_view text) {
  return escaped(text, [](std::string& to, std::string_view bytes, std::uint32_t code) {
    switch (code) {
      case '&':
        to += "&amp;";
        return;
      case '<':
        to += "&lt;";
        return;
      case '>':
        to += "&gt;";
        return;
      case '"':
        to += "&quot;";
        return;
      case '\n':
      case '\r':
      case '\t':
        to += fmt::format("&#{};", code);
        return;
      default:
        to += code < 0x20 || code == 0xfffe || code == 0xffff ? kReplacement : bytes;
    }
  });
}

std::string command_data(std::string_view text) {
  return escaped(text, [](std::string& to, std::string_view bytes, std::uint32_t code) {
    if (code == '%' || code == '\r' || code == '\n') {
      to += fmt::format("%{:02X}", code);
    } else {
      to += bytes;
    }
  });
}

std::string command_property(std::string_view text) {
  return escaped(text, [](std::string& to, std::string_view bytes, std::uint32_t code) {
    if (code == '%' || code == '\r' || code == '\n' || code == ':' || code == ',') {
      to += fmt::format("%{:02X}", code);
    } else {
      to += bytes;
    }
  });
}

std::string markdown_cell(std::string_view text) {
  return escaped(text, [](std::string& to, std::string_view bytes, std::uint32_t code) {
    if (code < 0x20 || code == 0x7f) {
      to += ' ';
    } else if (code < 0x80 &&
               std::string_view("\\|`*_<>[]&~#").find(static_cast<char>(code)) != std::string_view::npos) {
      to += fmt::format("&#{};", code);  // a backslash would not help inside a table's |
    } else {
      to += bytes;
    }
  });
}

}  // namespace sinkscope
