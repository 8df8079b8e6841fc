package io.inlay.model;

import io.inlay.Problem;
import io.inlay.kernels.Int8Weight;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.IdentityHashMap;
import java.util.Map;

/**
 * The int8 forms of a base's linears, made once of their exact values: all seven of every layer, and the head. A tied head has a form of
 * its own, half as large as the table that it would read for every token; of the table itself an answer then reads single rows.
 *
 * <p>A form belongs to a tensor: what a delta or a training puts in a weight's place has none, and counts as it is.
 */
final class Int8Linears {

    private final Map<Tensor, Int8Weight> forms = new IdentityHashMap<>();
    private final Tensor embedding;

    /** @param scope owner of the forms */
    Int8Linears(String model, LlamaConfig config, LlamaWeights weights, Scope scope) {
        this.embedding = weights.embedding();
        for (int layer = 0; layer < config.layers(); layer++) {
            for (Projection projection : Projection.values()) {
                add(model, projection.tensor(layer), weights.layers().get(layer).linear(projection), scope);
            }
        }
        add(model, config.tiedEmbeddings() ? LlamaWeights.EMBEDDING : LlamaWeights.HEAD, weights.head(), scope);
    }

    private void add(String model, String name, Tensor weight, Scope scope) {
        try {
            forms.put(weight, Int8Weight.of(weight, scope));
        } catch (IllegalArgumentException refused) {
            throw new Problem(Problem.Code.CORRUPT_CHECKPOINT, "model " + model + " cannot be served in int8: " + name + ": "
                    + refused.getMessage() + "; fetch the model again, or take it out of inlay.models.int8", refused);
        }
    }

    /** The form of a weight as a linear, or null where it has none. */
    Int8Weight of(Tensor weight) {
        return forms.get(weight);
    }

    long bytes() {
        return forms.values().stream().mapToLong(Int8Weight::bytes).sum();
    }

    /** Bytes of the exact weights that no answer reads because of the forms. */
    long replacedBytes() {
        return forms.keySet().stream().filter(weight -> weight != embedding).mapToLong(Tensor::bytes).sum();
    }

    /** Whether every form is that of its exact weight now. Makes all of them again. */
    boolean intact(Scope owner) {
        return forms.entrySet().stream().allMatch(form -> {
            try (Scope scope = new Scope(owner.torch())) {
                Int8Weight again = Int8Weight.of(form.getKey(), scope);
                return same(again.values(), form.getValue().values()) && same(again.scales(), form.getValue().scales());
            }
        });
    }

    private static boolean same(Tensor one, Tensor other) {
        return MemorySegment.mismatch(one.segment(), 0, one.bytes(), other.segment(), 0, other.bytes()) < 0;
    }
}
