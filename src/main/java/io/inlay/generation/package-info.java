/**
 * Generation: from logits to tokens (penalties, the mask of a {@code grammar}, sampling), stop conditions, streaming of text, the engine
 * that steps running requests, texts that are only read, and the residency of deltas, with pins and merged ones.
 *
 * <p>May use {@code model}, {@code store} and below. Must not know HTTP, jobs or configuration sources.
 */
package io.inlay.generation;
