#pragma once
// The token id at a position, as long as all sequences agree on it.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace sinkscope {

class AgreedToken {
 public:
  /// The token of one more sequence; a model without token ids, or a position outside them, agrees with nothing.
  void add(const std::vector<std::int64_t>& ids, std::int64_t position) {
    const auto place = static_cast<std::size_t>(position);
    merge(place < ids.size() ? AgreedToken(State::agreed, ids[place]) : AgreedToken(State::none, 0));
  }
  void merge(const AgreedToken& other) {
    if (other.state_ == State::unseen) return;
    if (state_ == State::unseen) {
      *this = other;
    } else if (other.state_ == State::none || other.id_ != id_) {
      state_ = State::none;
    }
  }
  std::optional<std::int64_t> id() const { return state_ == State::agreed ? std::optional(id_) : std::nullopt; }

  AgreedToken() = default;

 private:
  enum class State : std::uint8_t { unseen, agreed, none };
  AgreedToken(State state, std::int64_t id) : state_(state), id_(id) {}
  State state_ = State::unseen;
  std::int64_t id_ = 0;
};

}  // namespace sinkscope
