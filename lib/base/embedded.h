#pragma once

#include <span>
#include <string_view>

/// Files of configs/ that are compiled into the program, so that it needs no data folder at run time.
namespace sinkscope::embedded {

/// Names relative to configs/, for example "report.schema.json" or "presets/quick.toml", in alphabetical order.
std::span<const std::string_view> names();

/// Content of the file `name`. Throws std::out_of_range if there is none of that name.
std::string_view file(std::string_view name);

}  // namespace sinkscope::embedded
