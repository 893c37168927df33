// Masks are recognised by what they let every query see.
#include <ATen/ATen.h>

#include <cmath>

#include "catch.h"
#include "measure/made_masks.h"
#include "measure/recognise_mask.h"

namespace sinkscope {
namespace {

using made_masks::additive;
using made_masks::band;

at::Tensor chunks(std::int64_t length, std::int64_t width) {
  const at::Tensor c = at::floor_divide(at::arange(length), at::Scalar(width));
  return (c.unsqueeze(1) == c.unsqueeze(0)).logical_and(at::ones({length, length}, at::kBool).tril());
}

TEST_CASE("a mask is recognised by what it lets every query see", "[measure]") {
  constexpr std::int64_t kLength = 12;
  const at::Tensor all = at::ones({kLength, kLength}, at::kBool);
  const struct {
    at::Tensor mask;
    MaskKind kind;
    std::int64_t width;
  } cases[] = {{all, MaskKind::none, 0},
               {all.tril(), MaskKind::causal, 0},
               {band(kLength, 5), MaskKind::window, 5},
               {chunks(kLength, 4), MaskKind::chunk, 4},
               {all.tril().logical_and(all.triu(-3).logical_or(all.tril(-7))), MaskKind::other, 0}};
  for (const auto& c : cases) {
    for (const at::Tensor& mask :
         {c.mask, additive(c.mask, -INFINITY), additive(c.mask, -1e9), additive(c.mask, -65504)}) {
      CAPTURE(mask.scalar_type(), c.width);
      const RecognisedMask got =
          recognise_mask(mask.view({1, 1, kLength, kLength}).expand({3, 2, kLength, kLength}), kLength, kLength, 4);
      CHECK(got.kind == c.kind);
      CHECK(got.width == c.width);
      CHECK(got.exact);
      REQUIRE(got.visibility.size() == 1);
      for (std::int64_t i = 0; i < kLength; ++i)
        CHECK(got.visibility[0].at(0)->visible(i) == c.mask[i].sum().item<std::int64_t>());
    }
  }
}

TEST_CASE("a mask that also adds to the scores cannot be dropped", "[measure]") {
  const at::Tensor visible = at::ones({6, 6}, at::kBool).tril();
  at::Tensor mask = additive(visible, -INFINITY);
  mask[3][1] = -0.5;
  const RecognisedMask got = recognise_mask(mask, 6, 6, 1);
  CHECK(got.kind == MaskKind::causal);
  CHECK_FALSE(got.exact);
}

TEST_CASE("sequences with other padding have a visibility each", "[measure]") {
  at::Tensor mask = at::ones({5, 5}, at::kBool).tril().view({1, 1, 5, 5}).repeat({2, 1, 1, 1});
  mask.select(0, 1).select(2, 0).fill_(false);  // the second sequence hides key 0
  const RecognisedMask got = recognise_mask(mask, 5, 5, 2);
  CHECK(got.kind == MaskKind::padding);
  CHECK(got.by_position == MaskKind::causal);
  REQUIRE(got.visibility.size() == 2);
  CHECK(got.visibility[0].at(0)->sees(3, 0));
  CHECK_FALSE(got.visibility[1].at(0)->sees(3, 0));
  CHECK(got.visibility[1].at(0)->visible(0) == 0);
  CHECK(got.visibility[1].at(0)->queries() == 4);
}

TEST_CASE("heads with other masks have a visibility each", "[measure]") {
  const at::Tensor causal = at::ones({6, 6}, at::kBool).tril(), window = band(6, 2);
  const at::Tensor heads = at::stack({causal, window}).unsqueeze(0);
  const RecognisedMask got = recognise_mask(heads, 6, 6, 1);
  CHECK(got.kind == MaskKind::other);
  REQUIRE(got.visibility.size() == 1);
  REQUIRE(got.visibility[0].size() == 2);
  CHECK(got.visibility[0][0]->visible(5) == 6);
  CHECK(got.visibility[0][1]->visible(5) == 2);
  CHECK(got.visibility[0][1]->is_causal());
  CHECK(recognise_mask(at::stack({causal, causal}).unsqueeze(0), 6, 6, 1).visibility.at(0).size() == 1);
}

TEST_CASE("keys that are no tokens do not make a causal mask another one", "[measure]") {
  const at::Tensor causal = at::ones({6, 6}, at::kBool).tril(), learned = at::ones({6, 2}, at::kBool);
  const RecognisedMask before = recognise_mask(at::cat({learned, causal}, 1), 6, 8, 4);
  CHECK(is_causal(before));
  CHECK(before.extra_keys.before == 2);
  CHECK(before.visibility[0].at(0)->alpha_rows(1) == 6);
  CHECK(before.visibility[0].at(0)->alpha_rows(3) == 5);
  const RecognisedMask behind = recognise_mask(at::cat({causal, learned}, 1), 6, 8, 8);
  CHECK(is_causal(behind));
  CHECK(behind.extra_keys.behind == 2);
  CHECK(behind.visibility[0].at(0)->alpha_rows(7) == 6);
  CHECK(behind.visibility[0].at(0)->alpha_rows(3) == 3);
  at::Tensor later = at::cat({learned, causal}, 1).clone();
  later[1][7].fill_(true);  // one query sees a later token
  CHECK_FALSE(is_causal(recognise_mask(later, 6, 8, 4)));
  CHECK_FALSE(is_causal(recognise_mask(at::ones({6, 8}, at::kBool), 6, 8, 4)));
}

TEST_CASE("padding is found below every mask by position, and nothing else is taken for padding", "[measure]") {
  constexpr std::int64_t kLength = 12;
  const at::Tensor all = at::ones({kLength, kLength}, at::kBool), j = at::arange(kLength);
  const at::Tensor right = j < 9, left = j >= 4;
  const struct {
    at::Tensor base;
    MaskKind kind;
    std::int64_t width;
  } cases[] = {{all, MaskKind::none, 0},
               {all.tril(), MaskKind::causal, 0},
               {band(kLength, 3), MaskKind::window, 3},
               {chunks(kLength, 4), MaskKind::chunk, 4}};
  for (const auto& c : cases) {
    CAPTURE(static_cast<int>(c.kind));
    const at::Tensor visible = at::stack({c.base, c.base.logical_and(right), c.base.logical_and(left)}).unsqueeze(1);
    for (const at::Tensor& mask : {visible, additive(visible, -INFINITY), additive(visible, -1e9)}) {
      const RecognisedMask got = recognise_mask(mask, kLength, kLength, 2);
      CHECK(got.kind == MaskKind::padding);
      CHECK(got.by_position == c.kind);
      CHECK(got.width == c.width);
      CHECK(got.exact);
      CHECK(got.key_padding.equal(at::stack({all[0], right, left})));
      REQUIRE(got.visibility.size() == 3);
      CHECK(got.visibility[2].at(0)->visible(5) == c.base[5].logical_and(left).sum().item<std::int64_t>());
    }
    at::Tensor torn = visible.clone();  // one pair more: no padding any more
    torn[1][0][kLength - 1][0] = torn[1][0][kLength - 1][0].logical_not();
    torn[1][0][kLength - 1][10] = torn[1][0][kLength - 1][10].logical_not();
    CHECK(recognise_mask(torn, kLength, kLength, 2).kind == MaskKind::other);
  }
  CHECK(recognise_mask(at::zeros({2, 1, 4, 4}, at::kBool), 4, 4, 1).visibility.at(1).at(0)->queries() == 0);
}

}  // namespace
}  // namespace sinkscope
