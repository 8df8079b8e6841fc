package io.inlay.generation;

import io.inlay.Problem;
import io.inlay.kernels.DeviceKernels;
import io.inlay.model.LlamaConfig;
import io.inlay.model.ModelOptions;
import io.inlay.model.PromptCut;
import io.inlay.model.ScratchBytes;
import io.inlay.tensor.Devices;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;

/**
 * What serving a model takes of its device, known before anything is allocated.
 *
 * @param weights bytes of its parameters
 * @param cache of keys and values
 * @param deltas that stay beyond use
 * @param scratch of a pass
 */
public record ServingPlan(String model, long weights, long cache, long deltas, long scratch) {

    /**
     * @param cacheBytes of {@link GenerationEngine.Limits}
     * @param residentBytes of {@link ModelCatalog.Settings}
     */
    public static ServingPlan of(String model, LlamaConfig config, ModelOptions options, long cacheBytes, long residentBytes) {
        int positions = options.maxContext() == 0 ? config.maxPositions() : options.maxContext();
        long rope = 4L * positions * config.headDim();
        return new ServingPlan(model, config.parameterCount() * options.dtype().bytes() + rope, cacheBytes, residentBytes,
                new ScratchBytes(config, options.dtype()).serving(DeviceKernels.rowsOfAStep(options.device()),
                        PromptCut.of(options.device(), options.dtype())));
    }

    public long total() {
        return weights + cache + deltas + scratch;
    }

    /**
     * What to warn of on the CPU, where the budgets are larger than what is free: there they are taken as they are used, so the server
     * starts, and may be ended by the system later.
     */
    public Optional<String> doubt(Devices devices, ModelOptions options) {
        OptionalLong free = options.device().isCpu() ? devices.on(options.device()) : OptionalLong.empty();
        long budgets = cache + deltas + scratch;
        if (free.isEmpty() || budgets <= free.getAsLong()) {
            return Optional.empty();
        }
        return Optional.of(String.format(Locale.ROOT, "model %s may take %,d bytes beside its weights: %,d for keys and values "
                + "(inlay.generation.cache-bytes), %,d for deltas (inlay.generation.resident-bytes), %,d for passes; only %,d are free; "
                + "lower one of the two", model, budgets, cache, deltas, scratch, free.getAsLong()));
    }

    /**
     * Has the memory promised, so that neither another model nor a tuning job takes it before this one does. On the CPU nothing is: there
     * weights are mapped files, and the rest is taken from the system as it is touched.
     *
     * @throws Problem {@code UNAVAILABLE} with the numbers when the device has less
     */
    public Optional<Devices.Promise> promise(Devices devices, ModelOptions options) {
        if (options.device().isCpu()) {
            return Optional.empty();
        }
        Set<String> purposes = Set.of("weights of " + model, "keys and values of " + model, "deltas of " + model);
        return Optional.of(devices.promise(options.device(), purposes, total()).orElseThrow(() -> {
            OptionalLong free = devices.on(options.device());
            return new Problem(Problem.Code.UNAVAILABLE, String.format(Locale.ROOT, "model %s needs %,d bytes on %s: %,d for weights, %,d "
                    + "for keys and values (inlay.generation.cache-bytes), %,d for deltas (inlay.generation.resident-bytes), %,d for "
                    + "passes; %,d are free; lower one of the two, serve fewer models (inlay.models.names), or set inlay.device to "
                    + "another device",
                    model, total(), options.device(), weights, cache, deltas, scratch, free.orElse(0)));
        }));
    }
}
