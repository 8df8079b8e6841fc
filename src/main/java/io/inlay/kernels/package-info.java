/**
 * Fused operations that libtorch lacks or does slowly: norms, rope, SwiGLU, cross-entropy, AdamW, block scores, decode linears through
 * tile tables in bf16, fp32 or int8, decode attention. One interface, {@link io.inlay.kernels.Kernels}; a scalar reference that reads like
 * the formula, a Vector API form, C (kernels/cpu) where it measures clearly faster, and CUDA (kernels/*.cu) for tensors on a GPU. One contract test runs
 * them all, the CUDA ones compiled for the CPU.
 *
 * <p>May use {@code tensor} and {@code delta}. Must not know layers, models or jobs. JCuda stays here.
 */
package io.inlay.kernels;
