#pragma once
// The border between the program and the torch module: only argc, argv and the exit code cross it.

#include "base/error.h"

/// Runs the command argv[1] (bench, inspect, measure, sweep). Defined in the torch module; never lets an exception out.
extern "C" int sinkscope_torch_main(int argc, char** argv);

namespace sinkscope {

/// Whether sinkscope_torch.so lies where the program looks for it: without it the program has only the torch-free
/// commands.
bool torch_module_present();

/// Opens sinkscope_torch.so, beside the program or in ../lib/sinkscope, and runs the command there. Throws Error (exit
/// 70) if the module is missing or cannot be loaded.
Exit run_in_torch_module(int argc, char** argv);

}  // namespace sinkscope
