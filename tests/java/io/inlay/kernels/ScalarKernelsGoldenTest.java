package io.inlay.kernels;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** The scalar reference against PyTorch's autograd in fp64; see tests/golden/kernels. */
class ScalarKernelsGoldenTest {

    private static Libtorch torch;
    private static JsonNode golden;

    private final Kernels kernels = new ScalarKernels();
    private final Scope scope = new Scope(torch);

    @BeforeAll
    static void load() throws IOException {
        torch = Libtorch.load();
        golden = new ObjectMapper().readTree(Path.of("tests/golden/kernels/kernels.json").toFile());
    }

    @AfterEach
    void close() {
        scope.close();
    }

    @Test
    void rms_norm_and_its_gradients() {
        Tensor x = given("rmsNorm", "x");
        Tensor weight = given("rmsNorm", "weight");
        Tensor out = like(x);
        Tensor rstd = scope.empty(DType.FP32, Device.CPU, 5);
        kernels.rmsNorm(x, weight, 1e-5f, out, rstd);
        expect(out, "rmsNorm", "out");
        expect(rstd, "rmsNorm", "rstd");
        Tensor gradX = zeros(x);
        Tensor gradWeight = zeros(weight);
        kernels.rmsNormBackward(given("rmsNorm", "gradOut"), x, weight, rstd, gradX, gradWeight);
        expect(gradX, "rmsNorm", "gradX");
        expect(gradWeight, "rmsNorm", "gradWeight");
    }

    @Test
    void a_sum_is_normalized_as_the_norm_alone_would() {
        Tensor x = given("rmsNorm", "x");
        Tensor y = given("rmsNorm", "gradOut");
        Tensor weight = given("rmsNorm", "weight");
        Tensor sum = like(x);
        Tensor out = like(x);
        Tensor rstd = scope.empty(DType.FP32, Device.CPU, 5);
        kernels.addRmsNorm(x, y, sum, weight, 1e-5f, out, rstd);
        float[] expected = Scope.floats(torch, x);
        float[] second = Scope.floats(torch, y);
        for (int i = 0; i < expected.length; i++) {
            expected[i] += second[i];
        }
        assertThat(Scope.floats(torch, sum)).containsExactly(expected);
        Tensor alone = like(x);
        kernels.rmsNorm(sum, weight, 1e-5f, alone, null);
        assertThat(Scope.floats(torch, out)).containsExactly(Scope.floats(torch, alone));
    }

    @Test
    void rope_and_its_inverse() {
        Tensor x = given("rope", "x");
        kernels.rope(x, given("rope", "table"), integers("rope", "positions"), false);
        expect(x, "rope", "out");
        Tensor grad = given("rope", "gradOut");
        kernels.rope(grad, given("rope", "table"), integers("rope", "positions"), true);
        expect(grad, "rope", "gradX");
    }

    @Test
    void swiglu_and_its_gradients() {
        Tensor gate = given("swiGlu", "gate");
        Tensor up = given("swiGlu", "up");
        Tensor out = like(gate);
        kernels.swiGlu(gate, up, out);
        expect(out, "swiGlu", "out");
        Tensor gradGate = like(gate);
        Tensor gradUp = like(gate);
        kernels.swiGluBackward(given("swiGlu", "gradOut"), gate, up, gradGate, gradUp);
        expect(gradGate, "swiGlu", "gradGate");
        expect(gradUp, "swiGlu", "gradUp");
    }

    @Test
    void cross_entropy_and_its_gradient() {
        Tensor logits = given("crossEntropy", "logits");
        Tensor losses = scope.empty(DType.FP32, Device.CPU, 5);
        kernels.crossEntropy(logits, integers("crossEntropy", "targets"), 0.25f, false, losses);
        expect(losses, "crossEntropy", "losses");
        expect(logits, "crossEntropy", "logits");
        kernels.crossEntropy(logits, integers("crossEntropy", "targets"), 0.25f, true, losses);
        expect(losses, "crossEntropy", "losses");
        expect(logits, "crossEntropy", "gradient");
    }

    @Test
    void four_steps_of_adamw() {
        Tensor master = given("adamW", "start");
        Tensor first = zeros(master);
        Tensor second = zeros(master);
        Tensor weight = scope.empty(DType.BF16, Device.CPU, 50);
        Tensor gradients = given("adamW", "gradients");
        for (int step = 1; step <= 4; step++) {
            Tensor gradient = gradients.narrow(scope, 0, step - 1, 1);
            kernels.adamW(gradient, master, first, second, weight, new Kernels.AdamW(0.01, 0.9, 0.95, 1e-8, 0.1, step, 0.5));
        }
        expect(master, "adamW", "master");
        expect(first, "adamW", "first");
        expect(second, "adamW", "second");
        assertThat(Scope.floats(torch, weight)).containsExactly(Scope.floats(torch, scope.copyTo(master, DType.BF16, Device.CPU)));
    }

    @Test
    void attention_of_one_position_over_a_cache() {
        Tensor q = given("decodeAttention", "q");
        Tensor out = like(q);
        kernels.decodeAttention(q, given("decodeAttention", "keys"), given("decodeAttention", "values"), 7, 0.25f, out);
        expect(out, "decodeAttention", "out");
    }

    @Test
    void attention_of_packed_sequences_and_its_gradients() {
        Tensor q = given("causalAttention", "q");
        Tensor k = given("causalAttention", "k");
        Tensor v = given("causalAttention", "v");
        Tensor starts = integers("causalAttention", "starts");
        Tensor out = like(q);
        Tensor sums = like(given("causalAttention", "logSumExp"));
        kernels.causalAttention(q, k, v, starts, 0.25f, out, sums);
        expect(out, "causalAttention", "out");
        expect(sums, "causalAttention", "logSumExp");
        Tensor gradQ = like(q);
        Tensor gradK = like(k);
        Tensor gradV = like(v);
        kernels.causalAttentionBackward(given("causalAttention", "gradOut"), q, k, v, out, sums, starts, 0.25f, gradQ, gradK, gradV);
        expect(gradQ, "causalAttention", "gradQ");
        expect(gradK, "causalAttention", "gradK");
        expect(gradV, "causalAttention", "gradV");
    }

    @Test
    void embedding_and_its_gradient() {
        Tensor out = scope.empty(DType.FP32, Device.CPU, 4, 20);
        Tensor table = given("embed", "table");
        kernels.embed(table, integers("embed", "ids"), out);
        expect(out, "embed", "out");
        Tensor gradTable = zeros(table);
        kernels.embedBackward(given("embed", "gradOut"), integers("embed", "ids"), gradTable);
        expect(gradTable, "embed", "gradTable");
    }

    @Test
    void a_linear() {
        Tensor y = scope.empty(DType.FP32, Device.CPU, 3, 24);
        kernels.linear(given("linear", "x"), given("linear", "w"), null, y);
        expect(y, "linear", "y");
    }

    // ---- golden arrays as tensors ----

    private Tensor given(String operation, String name) {
        JsonNode array = golden.path(operation).path(name);
        float[] values = new float[array.path("values").size()];
        for (int i = 0; i < values.length; i++) {
            values[i] = array.path("values").get(i).floatValue();
        }
        return scope.of(Device.CPU, values, shape(array));
    }

    private Tensor integers(String operation, String name) {
        JsonNode array = golden.path(operation).path(name);
        int[] values = new int[array.path("values").size()];
        for (int i = 0; i < values.length; i++) {
            values[i] = array.path("values").get(i).intValue();
        }
        return scope.of(Device.CPU, values, shape(array));
    }

    private static long[] shape(JsonNode array) {
        long[] sizes = new long[array.path("shape").size()];
        for (int i = 0; i < sizes.length; i++) {
            sizes[i] = array.path("shape").get(i).longValue();
        }
        return sizes;
    }

    private Tensor like(Tensor tensor) {
        return scope.empty(tensor.dtype(), Device.CPU, tensor.sizes());
    }

    private Tensor zeros(Tensor tensor) {
        return scope.zeros(tensor.dtype(), Device.CPU, tensor.sizes());
    }

    private void expect(Tensor actual, String operation, String name) {
        float[] expected = Scope.floats(torch, given(operation, name));
        assertThat(expected).isNotEmpty();
        Results.expectClose(operation + "." + name, Scope.floats(torch, actual), expected, 1e-5, 1e-6);
    }
}
