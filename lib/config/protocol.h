#pragma once
// Departures from the protocol of a paper preset: a number measured otherwise must not carry the paper's name unmarked.

#include "config/setting_source.h"

namespace sinkscope {

/// Sets config.protocol and config.protocol_deviations; nothing for a preset that is no paper's protocol.
void note_protocol(MeasureConfig& config, const SettingSource& preset);

}  // namespace sinkscope
