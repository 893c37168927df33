#pragma once

// From here on Catch2 2.13 and 3.x look the same. Tests include this file and nothing else from Catch2.
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
#else
#include <catch2/catch.hpp>
#endif

/// Absolute tolerance only. Approx alone allows a relative error of about 1.2e-5 and no absolute one.
inline Approx near(double expected, double tolerance) { return Approx(expected).epsilon(0).margin(tolerance); }

/// Matches a string that contains `part`: CHECK_THAT(text, contains("never fired")).
#if __has_include(<catch2/catch_all.hpp>)
inline auto contains(const std::string& part) { return Catch::Matchers::ContainsSubstring(part); }
#else
inline auto contains(const std::string& part) { return Catch::Matchers::Contains(part); }
#endif
