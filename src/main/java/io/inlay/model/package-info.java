/**
 * LLaMA: configuration, safetensors weights (mapped, never copied, never written), tokenizer and chat template, forward and backward
 * written by hand, KV cache.
 *
 * <p>May use {@code kernels}, {@code delta}, {@code tensor}. DJL's tokenizers stay here. Must not know tenants, jobs, stores or HTTP.
 */
package io.inlay.model;
