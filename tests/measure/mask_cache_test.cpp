// Masks are recognised once, by identity or by their values, and do not pile up.
#include "measure/mask_cache.h"

#include <ATen/ATen.h>

#include "catch.h"

namespace sinkscope {
namespace {

at::Tensor causal(std::int64_t length) { return at::ones({1, 1, length, length}, at::kBool).tril(); }

TEST_CASE("the cache recognises a mask again only when it changes", "[measure]") {
  MaskCache cache;
  at::Tensor mask = causal(6);
  const RecognisedMask* first = &cache.recognise(mask, {}, 6, 6, 1);
  CHECK(&cache.recognise(mask, {}, 6, 6, 1) == first);
  CHECK(first->kind == MaskKind::causal);
  mask.fill_(true);
  CHECK(cache.recognise(mask, {}, 6, 6, 1).kind == MaskKind::none);
  // Sites that are not measured ask for no first keys, and cross attention has its own number of queries.
  at::Tensor padding = at::ones({1, 1, 1, 6}, at::kBool);
  padding.select(3, 0).fill_(false);
  CHECK(cache.recognise(padding, {}, 6, 6, 0).visibility.at(0).at(0)->rows() == 6);
  CHECK_FALSE(cache.recognise(padding, {}, 6, 6, 2).visibility.at(0).at(0)->sees(5, 0));
  CHECK(cache.recognise(padding, {}, 4, 6, 2).visibility.at(0).at(0)->rows() == 4);
}

TEST_CASE("one mask beside another score function is another mask", "[measure]") {
  MaskCache cache;
  const at::Tensor mask = at::ones({1, 1, 6, 6}, at::kBool);
  CHECK(cache.recognise(mask, {}, 6, 6, 1).kind == MaskKind::none);
  CHECK(cache.recognise(mask, {.causal = true}, 6, 6, 1).kind == MaskKind::causal);
  CHECK(cache.recognise(mask, {.causal = true, .window = 3}, 6, 6, 1).kind == MaskKind::window);
  CHECK(cache.recognise(mask, {.scale = 0.5}, 6, 6, 1).kind == MaskKind::none);
}

TEST_CASE("a mask that every layer builds anew is recognised once and kept once", "[measure]") {
  MaskCache cache;
  const RecognisedMask* first = &cache.recognise(causal(6), {}, 6, 6, 1);
  for (int layer = 0; layer < 5; ++layer) {
    CHECK(&cache.recognise(causal(6), {}, 6, 6, 1) == first);
    CHECK(cache.size() == 1);
  }
  // Layers whose masks differ, each dropped by the model: beside the mask in use, one at most is kept.
  for (int layer = 0; layer < 5; ++layer) {
    at::Tensor other = causal(6);
    other[0][0][5][1 + layer % 4] = false;
    CHECK(cache.recognise(other, {}, 6, 6, 1).kind == MaskKind::other);
    CHECK(cache.size() <= 2);
  }
}

TEST_CASE("masks that the model keeps are all remembered, and one changed in place is not taken for its old self",
          "[measure]") {
  MaskCache cache;
  at::Tensor full = causal(6), window = causal(6).triu(-2);
  const RecognisedMask* of_full = &cache.recognise(full, {}, 6, 6, 1);
  const RecognisedMask* of_window = &cache.recognise(window, {}, 6, 6, 1);
  CHECK(of_window->kind == MaskKind::window);
  CHECK(&cache.recognise(full, {}, 6, 6, 1) == of_full);
  CHECK(&cache.recognise(window, {}, 6, 6, 1) == of_window);
  full[0][0][0][3] = true;
  const at::Tensor again = full.clone();
  CHECK(cache.recognise(again, {}, 6, 6, 1).kind == MaskKind::other);
  CHECK(cache.recognise(full, {}, 6, 6, 1).kind == MaskKind::other);
}

}  // namespace
}  // namespace sinkscope
