#pragma once

/// Why none of a program's tests can run here, or null. Only programs that need more than any machine has define it.
__attribute__((weak)) const char* skip_reason();
