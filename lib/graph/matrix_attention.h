#pragma once
// What the idioms of materialised attention share: the site around the operator that makes probabilities of scores.

#include <optional>
#include <string>

#include "graph/site.h"
#include "graph/value_product.h"

namespace sinkscope {

/// The site around `normaliser`. Queries may be learned, if keys and values are not. `problem`, if there is none,
/// receives why: empty where no product of two activations is behind the scores.
std::optional<Site> matrix_attention(const Normaliser& normaliser, std::string& problem);

}  // namespace sinkscope
