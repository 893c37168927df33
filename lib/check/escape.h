#pragma once
// Text of reports in other people's formats: paths and names may hold anything.

#include <string>
#include <string_view>

namespace sinkscope {

/// Valid UTF-8 with what is not replaced by U+FFFD.
std::string valid_utf8(std::string_view text);

/// For XML 1.0, in text and in attributes: markup characters and line ends as references; what XML cannot hold (control
/// characters, bytes that are no UTF-8) becomes U+FFFD.
std::string xml_escaped(std::string_view text);

/// The message of a GitHub workflow command: % and line ends.
std::string command_data(std::string_view text);

/// A property of a GitHub workflow command: also colons and commas, which would end it.
std::string command_property(std::string_view text);

/// A cell of a GitHub table: no line ends, no markup.
std::string markdown_cell(std::string_view text);

}  // namespace sinkscope
