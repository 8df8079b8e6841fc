/**
 * libtorch through its C ABI: tensors with explicit lifetimes, and the operations libtorch does best (GEMM, attention).
 *
 * <p>Holds {@link io.inlay.tensor.Tensor}, {@link io.inlay.tensor.Scope}, {@link io.inlay.tensor.DType}, {@link io.inlay.tensor.Device}
 * and {@link io.inlay.tensor.Libtorch}. DJL and every FFM call into libtorch stay here. Depends on no other package of Inlay but the
 * root; must not know what a model is.
 */
package io.inlay.tensor;
