#pragma once

namespace sinkscope {

/// Version of sinkscope, "major.minor.patch", from the build file.
const char* version();

/// Short hash of the commit that was built, with "-dirty" after it when files differed from that commit; "unknown" when
/// the source was no git checkout.
const char* commit();

}  // namespace sinkscope
