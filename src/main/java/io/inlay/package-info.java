/**
 * Inlay. This room holds only {@link io.inlay.Problem}, which every other package may use; it imports none of them.
 *
 * <p>Imports go down only: {@code server, api, jobs, generation, tuning, model, store, kernels, delta, tensor}.
 */
package io.inlay;
