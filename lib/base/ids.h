#pragma once
// Ids are types, so that a site, a stream and a sequence never swap silently.

#include <cstddef>
#include <cstdint>

namespace sinkscope {

enum class SequenceId : std::int64_t {};  ///< position of a sequence in the input that ran, from 0
enum class SiteId : std::int64_t {};      ///< position of an attention call in `sites`, from 0
enum class StreamId : std::int64_t {};    ///< position of a residual-stream tap in `streams`, from 0

template <class Id>
constexpr std::size_t index(Id id) {
  return static_cast<std::size_t>(id);
}

}  // namespace sinkscope
