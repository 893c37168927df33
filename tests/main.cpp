// main() of the test programs, compiled once: Catch2 2.13 takes 10 s for it.
#define CATCH_CONFIG_RUNNER
#include "catch.h"

int main(int argc, char** argv) { return Catch::Session().run(argc, argv); }
