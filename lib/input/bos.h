#pragma once
// What `--bos` does to the sequences.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "files/tokens.h"
#include "input/input.h"

namespace sinkscope {

/// A policy, resolved against what is known about the model.
struct BosPolicy {
  std::string name;                      ///< for the report: auto, keep, none, or the id
  std::optional<std::int64_t> known_id;  ///< the BOS, if anything says which id it is
  std::optional<bool> added_by_tokenizer;
  std::optional<std::int64_t> prepend;  ///< put in front of sequences that do not begin with it
  std::optional<std::int64_t> strip;    ///< taken from the front of sequences that begin with it
  bool unknown = false;                 ///< auto or none, but the BOS of the model is unknown: nothing is changed
};

/// `policy` is auto, keep, none or an id; `drawn`: random or repeated ids, which get a BOS only when an id is given.
/// `auto` leaves a BOS in front exactly where the model's own tokenizer would put one. Throws UsageError for another
/// text or an id outside the vocabulary.
BosPolicy resolve_bos(const std::string& policy, const ModelFacts& facts, bool drawn);

/// Prepends or strips. Throws InputError if a sequence is left empty.
void apply(const BosPolicy& policy, std::vector<TokenRow>& rows);

}  // namespace sinkscope
