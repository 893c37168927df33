#include "check/expectation.h"

#include "base/error.h"
#include "small_report.h"

using namespace sinkscope;

namespace {

Comparison expected(const std::string& text, const Json& report = small_report(), bool ignore_incomplete = false) {
  return judge(parse_expectation(text), report, ignore_incomplete);
}

Status status(const std::string& text, const Json& report = small_report()) { return expected(text, report).status; }

}  // namespace

TEST_CASE("every operator says what it says", "[check]") {
  CHECK(status("sink_rate<0.6") == Status::pass);
  CHECK(status("sink_rate<0.5") == Status::fail);
  CHECK(status("sink_rate<=0.5") == Status::pass);
  CHECK(status("sink_rate>0.4") == Status::pass);
  CHECK(status("sink_rate>0.5") == Status::fail);
  CHECK(status("sink_rate>=0.5") == Status::pass);
  CHECK(status("sink_rate==0.5") == Status::pass);
  CHECK(status("sink_rate!=0.5") == Status::fail);
  CHECK(status(" sink_rate \t< 6e-1 ") == Status::pass);
  CHECK(status("loss>-1") == Status::pass);
}

TEST_CASE("a series means every element and shows the worst", "[check]") {
  CHECK(status("massive_activation.ratio<31") == Status::pass);
  const Comparison c = expected("massive_activation.ratio<15");
  CHECK(c.status == Status::fail);
  CHECK(c.reason == Reason::expectation_failed);
  CHECK(c.new_value == 30.0);
  CHECK(c.message ==
        "expected massive_activation.ratio<15: massive_activation.ratio, stream 2 is 30, the worst of 3; 2 fail");
  CHECK(expected("massive_activation.ratio>15").new_value == 10.0);
  CHECK(expected("massive_activation.ratio==20").new_value == 10.0);
}

TEST_CASE("max, min and mean make one value of a series, [i] chooses", "[check]") {
  CHECK(expected("max(massive_activation.ratio)<31").new_value == 30.0);
  CHECK(expected("min( massive_activation.ratio )>9").new_value == 10.0);
  CHECK(expected("mean(massive_activation.ratio)==20").status == Status::pass);
  CHECK(expected("massive_activation.ratio[0]==10").status == Status::pass);
  CHECK(expected("massive_activation.ratio[-1]==30").status == Status::pass);
  CHECK(expected("sink_rate.tail[1][0]==0.5").status == Status::pass);
  CHECK(expected("sink_rate.tail[1,0]==0.5").status == Status::pass);
  CHECK(expected("max(sink_rate.tail[0])==0.3").status == Status::pass);
  CHECK(expected("sink_rate.per_head[1][1]==0.8").head == 1u);
  CHECK(expected("max(sink_rate.per_site)==0.7").site == 1u);
  CHECK(expected("min(loss.per_sequence)==1").status == Status::pass);
}

TEST_CASE("the message names the place", "[check]") {
  CHECK(
      expected("sink_rate.per_head<0.7").message ==
      "expected sink_rate.per_head<0.7: sink_rate.per_head, site 1 (m.layers.1.attn), head 1 is 0.8, the worst of 4; 1 "
      "fail");
  CHECK(expected("sink_rate<0.49999999").message == "expected sink_rate<0.49999999: sink_rate is 0.5");
}

TEST_CASE("null fails, also one of many and under every function", "[check]") {
  const Json null =
      changed({{"/metrics/massive_activation/series/ratio/data/1", nullptr}, {"/metrics/loss/value", nullptr}});
  for (const char* text : {"loss<9", "loss!=9", "massive_activation.ratio<99", "max(massive_activation.ratio)<99",
                           "mean(massive_activation.ratio)<99", "massive_activation.ratio[1]<99"}) {
    CAPTURE(text);
    CHECK(expected(text, null).status == Status::fail);
    CHECK(expected(text, null).reason == Reason::null_in_new);
  }
  CHECK(status("massive_activation.ratio[0]<99", null) == Status::pass);
}

TEST_CASE("rejected samples and an interrupted run are never PASS", "[check]") {
  CHECK(expected("loss<9", changed({{"/metrics/loss/rejected", 1}})).reason == Reason::rejected);
  CHECK(status("loss<9", changed({{"/metrics/loss/rejected", 1}})) == Status::fail);
  const Json interrupted = changed({{"/complete", false}});
  CHECK(status("loss<9", interrupted) == Status::incomparable);
  CHECK(expected("loss<9", interrupted, true).status == Status::pass);
}

TEST_CASE("a mistyped expectation is refused and never passes", "[check]") {
  const auto refusal = [](const std::string& text) { return message_of<UsageError>([&] { expected(text); }); };
  for (const char* text : {"", "sink_rate", "sink_rate<", "<5", "sink_rate<5 6", "sink_rate<x", "sink_rate<nan",
                           "sink_rate<inf", "sink_rate=<5", "max(sink_rate<5", "max sink_rate<5", "sink_rate[x]<5",
                           "sink_rate[1<5", "sink_rate.<5", "5<sink_rate", "median(sink_rate)<5", "sink_rate<1e999"})
    CHECK(contains(refusal(text), "METRIC[.SERIES] OP NUMBER"));
  CHECK(contains(refusal("sinkrate<5"), "did you mean 'sink_rate'?"));
  CHECK(contains(refusal("sink_rate.tial<5"), "did you mean 'tail'?"));
  CHECK(contains(refusal("massive_activation.ratio[3]<5"), "has 3 elements"));
  CHECK(contains(refusal("massive_activation.ratio[-4]<5"), "out of range"));
  CHECK(contains(refusal("massive_activation.ratio[0][0]<5"), "has 1 dimensions"));
}
