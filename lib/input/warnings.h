#pragma once
// What is worth a warning about sequences that are otherwise fine.

#include <optional>
#include <vector>

#include "input/bos.h"
#include "input/input.h"
#include "input/source.h"

namespace sinkscope {

/// The id that pads many rows, if they look padded: a run of one id, at least two long, at the same end of at least 10
/// % of the rows. A single such row counts only from a run of three, because doubled tokens end texts by chance; a row
/// that is one id throughout never does. `skip` ids at the front (a BOS that this program put there) are not looked at.
std::optional<std::int64_t> padding_id(const std::vector<TokenRow>& rows, std::size_t skip);

/// Warnings with the codes looks_padded, bos_absent, bos_inside, bos_unknown, mixed_lengths, sidecar_ignored,
/// other_tokenizer. `info` is complete; `without_bos` as in Input.
std::vector<Warning> input_warnings(const Source& source, const std::vector<TokenRow>& rows, const BosPolicy& bos,
                                    const InputInfo& info, const ModelFacts& facts, std::int64_t without_bos);

}  // namespace sinkscope
