#include "input/bos.h"

#include <fmt/core.h>

#include <charconv>

#include "base/error.h"

namespace sinkscope {
namespace {

std::int64_t parse_id(const std::string& text, const ModelFacts& facts) {
  std::int64_t id = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, id);
  if (error != std::errc{} || rest != end || id < 0)
    throw UsageError(fmt::format("--bos {}: auto, keep, none or a token id is needed", text));
  if (facts.vocabulary && id >= *facts.vocabulary)
    throw UsageError(
        fmt::format("--bos {}: outside the vocabulary of {} ({} ids)", text, facts.path, *facts.vocabulary));
  return id;
}

}  // namespace

BosPolicy resolve_bos(const std::string& policy, const ModelFacts& facts, bool drawn) {
  BosPolicy bos{.name = policy,
                .known_id = facts.bos_id,
                .added_by_tokenizer = facts.bos_added_by_tokenizer,
                .prepend = {},
                .strip = {}};
  if (policy != "auto" && policy != "keep" && policy != "none") {
    bos.prepend = parse_id(policy, facts);
    bos.known_id = bos.prepend;
    return bos;
  }
  if (policy == "keep" || drawn) return bos;
  const bool wanted = policy == "auto" && facts.bos_added_by_tokenizer.value_or(false);
  // A model that is known to add none and names no id has none: there is nothing to strip.
  const bool none_exists = !facts.bos_id && facts.bos_added_by_tokenizer == false;
  bos.unknown =
      policy == "auto" ? !facts.bos_added_by_tokenizer || (wanted && !facts.bos_id) : !facts.bos_id && !none_exists;
  if (bos.unknown) return bos;
  (wanted ? bos.prepend : bos.strip) = facts.bos_id;
  return bos;
}

void apply(const BosPolicy& policy, std::vector<TokenRow>& rows) {
  for (TokenRow& row : rows) {
    if (policy.prepend && row.ids.front() != *policy.prepend) row.ids.insert(row.ids.begin(), *policy.prepend);
    if (policy.strip && row.ids.front() == *policy.strip) row.ids.erase(row.ids.begin());
    if (row.ids.empty())
      throw InputError(
          fmt::format("{}: holds only the BOS ({}); --bos {} leaves nothing", row.where, *policy.strip, policy.name));
  }
}

}  // namespace sinkscope
