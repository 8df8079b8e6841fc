/**
 * Sparse Matrix Tuning: warm-up, block scores, selection, the compact optimizer and the training loop; full fine-tuning, LoRA, DoRA and
 * random blocks as baselines.
 *
 * <p>May use {@code model} and below, but never sees a file, a tenant or a store: data comes in as token ids, results go out as
 * {@code delta} records.
 */
package io.inlay.tuning;
