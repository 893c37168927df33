#pragma once
// Devices and dtypes: what the flags mean in torch, and whether it is there.

#include <ATen/core/Tensor.h>
#include <torch/csrc/jit/ir/ir.h>

#include "config/measure_config.h"
#include "model/load_model.h"

namespace sinkscope {

/// The device that --device asks for. CUDA libraries are loaded only if they are asked for, or with `auto` where the
/// driver has left a device node. A process that may use CUDA calls this before anything that draws random numbers,
/// records gradients or looks for an accelerator: libtorch asks once, and keeps it if there is none. Throws DeviceError
/// if --device cuda cannot be had.
at::Device open_device(Device device, int index);

/// How many devices `device` could be; 0 where it means the CPU. Throws as open_device() does.
int device_count(Device device);

/// Waits for everything that was queued on the device; nothing to wait for on the CPU.
void synchronise(at::Device device);

/// Moves the parameters to the dtype. Throws InputError that names the node if the graph is tied to the model's own
/// dtype (graph/fixed_dtype.h): moving it would change what it means.
void move_to_dtype(LoadedModel& model, torch::jit::Graph& graph, DType dtype);

}  // namespace sinkscope
