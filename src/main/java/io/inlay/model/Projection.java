package io.inlay.model;

/** The seven linears of a layer, with their names in a checkpoint. */
public enum Projection {
    Q("self_attn.q_proj"),
    K("self_attn.k_proj"),
    V("self_attn.v_proj"),
    O("self_attn.o_proj"),
    GATE("mlp.gate_proj"),
    UP("mlp.up_proj"),
    DOWN("mlp.down_proj");

    private final String suffix;

    Projection(String suffix) {
        this.suffix = suffix;
    }

    /** The weight's name: {@code model.layers.0.self_attn.q_proj.weight}. */
    public String tensor(int layer) {
        return "model.layers." + layer + "." + suffix + ".weight";
    }
}
