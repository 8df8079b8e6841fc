// What makes the bits of a gated unit in swiglu.cu and gated_linear.cu.
#pragma once

#include "inlay.cuh"

__device__ __forceinline__ float sigmoid(float x) {
    return __fdividef(1, __fadd_rn(1, __expf(-x)));
}

__device__ __forceinline__ float swiglu(float gate, float up) {
    return __fmul_rn(__fmul_rn(gate, sigmoid(gate)), up);
}
