/**
 * Delta checkpoints on disk: versions, aliases, tenants' folders; atomic publishing and verified reading.
 *
 * <p>May use {@code delta}. Never sees a tensor, a model or HTTP. model-store/README.md specifies every byte it writes.
 */
package io.inlay.store;
