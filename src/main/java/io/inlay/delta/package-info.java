/**
 * Deltas as data: block coordinates, block values, manifests, fingerprints, and the codec that compresses blocks against their base.
 *
 * <p>Pure records and functions over bytes. Must not know files, tensors, HTTP or time. Sources: DESIGN.md section 4 (codec) and
 * model-store/README.md (the format, to the byte).
 */
package io.inlay.delta;
