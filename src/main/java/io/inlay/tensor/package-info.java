/**
 * libtorch through its C ABI: tensors with explicit lifetimes, and the operations libtorch does best (GEMM, attention).
 *
 * <p>Holds {@link io.inlay.tensor.Tensor}, {@link io.inlay.tensor.Scope}, {@link io.inlay.tensor.DType}, {@link io.inlay.tensor.Device}
 * and {@link io.inlay.tensor.Libtorch}, and of devices which there are, what they hold, have left and have promised
 * ({@link io.inlay.tensor.Devices}), which is taken ({@link io.inlay.tensor.DeviceChoice}) and how bytes get there
 * ({@link io.inlay.tensor.HostUpload}). DJL and every FFM call into libtorch and NVIDIA's driver stay here. Depends on no other package of
 * Inlay but the root; must not know what a model is.
 */
package io.inlay.tensor;
