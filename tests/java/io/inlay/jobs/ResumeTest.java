package io.inlay.jobs;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import io.inlay.delta.TensorBlocks;
import io.inlay.kernels.CpuKernels;
import io.inlay.delta.WholeTensor;
import io.inlay.model.LlamaModel;
import io.inlay.model.ModelOptions;
import io.inlay.tensor.DType;
import io.inlay.tensor.Libtorch;
import io.inlay.tuning.LearningRate;
import io.inlay.tuning.NamedTensor;
import io.inlay.tuning.StepReport;
import io.inlay.tuning.TuningCheckpoints;
import io.inlay.tuning.TuningControl;
import io.inlay.tuning.TuningExample;
import io.inlay.tuning.TuningListener;
import io.inlay.tuning.TuningMethod;
import io.inlay.tuning.TuningMethod.FullFineTuning;
import io.inlay.tuning.TuningMethod.RandomBlocks;
import io.inlay.tuning.TuningMethod.Score;
import io.inlay.tuning.TuningMethod.Smt;
import io.inlay.tuning.TuningMethod.Strategy;
import io.inlay.tuning.TuningOutcome;
import io.inlay.tuning.TuningParameters;
import io.inlay.tuning.TuningProgress;
import io.inlay.tuning.TuningRun;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.util.AbstractList;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Random;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Runs in processes of their own that are killed, and go on in other processes: every bit must be that of a run nobody disturbed. */
class ResumeTest {

    private static final int WARM_UP = 6;
    private static final int STEPS = 40;

    @TempDir
    private Path folder;

    /** 20 kills in all; the first of each method comes in the middle of a write. */
    @Test
    void kill_9_at_twenty_random_points_changes_no_bit_of_the_result() throws Exception {
        long seed = System.nanoTime();
        Random random = new Random(seed);
        List<String> resumes = new ArrayList<>();
        resumes.addAll(killAndCompare("smt", 8, random, "seed " + seed));
        resumes.addAll(killAndCompare("random_blocks", 4, random, "seed " + seed));
        resumes.addAll(killAndCompare("dora", 4, random, "seed " + seed));
        resumes.addAll(killAndCompare("full", 4, random, "seed " + seed));
        assertThat(resumes).as("seed %d", seed).anyMatch(line -> line.contains("after warm-up step"))
                .anyMatch(line -> line.contains("after training step"));
    }

    /** Returns what resumed runs said about where they went on. */
    private List<String> killAndCompare(String method, int kills, Random random, String label) throws Exception {
        List<String> undisturbed = killed(folder.resolve(method + "-undisturbed"), method, -1, 0, Integer.MAX_VALUE, 0);
        assertThat(undisturbed.getLast()).startsWith("result ");

        Path own = folder.resolve(method);
        List<String> resumes = new ArrayList<>();
        int round = 0;
        int killed = 0;
        boolean ended = false;
        while (killed < kills || !ended) {
            // In the middle of a write at first and now and then; else after some lines, a moment later or at once; at last not at all.
            boolean kill = killed < kills;
            boolean first = killed == 0;
            boolean whileWriting = kill && (first || random.nextInt(3) == 0);
            int hangAt = first ? 2 : whileWriting ? 1 + random.nextInt(3) : -1;
            double part = first ? 0.75 : random.nextDouble();
            int lines = kill && !whileWriting ? 1 + random.nextInt(6) : Integer.MAX_VALUE;
            List<String> said = killed(own.resolve(Integer.toString(round)), method, hangAt, part, lines, random.nextInt(4));
            said.stream().filter(line -> line.startsWith("The job goes on")).forEach(resumes::add);
            List<String> reported = said.stream().filter(line -> line.matches("(warm-up|step|validated|result) .*")).toList();
            assertThat(undisturbed).as("%s, %s, after kill %d it said %s", label, method, killed, said).containsAll(reported);
            if (first) {
                assertThat(said).as(label).endsWith("writing");
                assertThat(filesIn(own.resolve("0/job"))).as(label).contains("current.safetensors")
                        .anyMatch(name -> name.startsWith(".writing-"));
            }
            ended = !said.isEmpty() && said.getLast().startsWith("result ");
            killed += ended ? 0 : 1;
            // A run that came to its end before it was killed makes room for another.
            round += ended ? 1 : 0;
        }
        return resumes;
    }

    private static List<String> filesIn(Path folder) throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.map(file -> file.getFileName().toString()).toList();
        }
    }

    /** Starts the program and kills it when it hangs in a write or has said so many lines; returns what it said by then. */
    private static List<String> killed(Path run, String method, int hangAt, double part, int lines, int millis) throws Exception {
        ProcessBuilder command = new ProcessBuilder(ProcessHandle.current().info().command().orElseThrow(),
                "--add-modules=jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow",
                "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx256m", "-cp", System.getProperty("java.class.path"),
                Program.class.getName(), run.toString(), method, Integer.toString(hangAt), Double.toString(part)).redirectError(ProcessBuilder.Redirect.DISCARD);
        // Matrices this small gain nothing from a second thread, and lose much where other programs run beside.
        command.environment().put("OMP_NUM_THREADS", "1");
        Process program = command.start();
        List<String> said = new ArrayList<>();
        try (var output = program.inputReader()) {
            int heard = 0;
            for (String line = output.readLine(); line != null; line = output.readLine()) {
                if (!line.startsWith("WARNING")) {
                    said.add(line);
                    heard += line.startsWith("warm-up ") || line.startsWith("step ") ? 1 : 0;
                }
                if (line.equals("writing") || heard >= lines) {
                    break;
                }
            }
            if (said.isEmpty() || !said.getLast().startsWith("result ")) {
                Thread.sleep(millis);
                program.destroyForcibly();
            }
            program.waitFor();
        }
        return said;
    }

    /** A run with its checkpoints in a folder; says every figure to the bit, and the digest of its result. */
    static final class Program {

        static void main(String[] arguments) {
            run(Path.of(arguments[0]), arguments[1], Integer.parseInt(arguments[2]), Double.parseDouble(arguments[3]), line -> {
                System.out.println(line);
                System.out.flush();
            });
        }

        /**
         * @param hangAt the save, counted from 1, in which to hang until killed; -1 for none
         * @param part of the save's reads of its tensors after which to hang, from 0 to 1
         */
        private static void run(Path folder, String method, int hangAt, double part, Consumer<String> say) {
            TuningParameters parameters = parameters(method);
            try (LlamaModel model = LlamaModel.open(Libtorch.load(), CpuKernels.best(), Path.of("tests/golden/tuning/model"),
                    ModelOptions.of(DType.BF16)); Arena arena = Arena.ofConfined()) {
                RunIdentity identity = new RunIdentity("job", model.fingerprint(), "bf16", "data", "validation",
                        JsonNodeFactory.instance.objectNode().put("method", method));
                RunCheckpoints checkpoints = new RunCheckpoints(folder.resolve("job"), identity, model.torch(), Duration.ofSeconds(60),
                        (level, message) -> say.accept(message));
                TuningOutcome outcome = new TuningRun(model).run(examples(3), examples(5), parameters, new Teller(say),
                        () -> TuningControl.Wish.GO_ON, new Hanging(checkpoints, hangAt, part, say), arena);
                say.accept("result " + digest(outcome));
            }
        }

        private static TuningParameters parameters(String method) {
            TuningMethod chosen = switch (method) {
                case "smt" -> new Smt(0.1, OptionalInt.of(16), TuningMethod.ATTENTION, WARM_UP, Score.MEAN_ABS_SUM, new Strategy.Global());
                case "random_blocks" -> new RandomBlocks(0.1, OptionalInt.of(16), TuningMethod.ATTENTION);
                case "dora" -> TuningMethod.LowRank.of(TuningMethod.LowRank.Kind.DORA);
                case "full" -> new FullFineTuning();
                default -> throw new IllegalArgumentException(method);
            };
            return TuningParameters.of(chosen).batchSize(2).maxSteps(STEPS).learningRate(LearningRate.linear(2e-2)).evaluateEvery(5)
                    .keepBest(true).checkpointEvery(2).build();
        }

        private static List<TuningExample> examples(int factor) {
            List<TuningExample> examples = new ArrayList<>();
            for (int a = 0; a < 14; a++) {
                examples.add(new TuningExample(new int[] {0, 20 + a, 40, 60 + a * factor % 8, 1}, 3));
            }
            return examples;
        }

        private static String digest(TuningOutcome outcome) {
            try {
                MessageDigest digest = MessageDigest.getInstance("SHA-256");
                for (TensorBlocks blocks : outcome.blocks()) {
                    digest.update((blocks.tensor() + blocks.coordinates()).getBytes(java.nio.charset.StandardCharsets.UTF_8));
                    update(digest, blocks.values());
                }
                for (WholeTensor tensor : outcome.tensors()) {
                    update(digest, tensor.values());
                }
                return HexFormat.of().formatHex(digest.digest()) + String.format(Locale.ROOT, " %d steps %d tokens %s %s %s",
                        outcome.steps(), outcome.tokens(), Double.toHexString(outcome.trainingLoss()), outcome.validationLoss(),
                        outcome.best())
                        + " " + outcome.selection().map(report -> report.scores() + " " + report.matrices()).orElse("");
            } catch (NoSuchAlgorithmException impossible) {
                throw new AssertionError(impossible);
            }
        }

        private static void update(MessageDigest digest, MemorySegment values) {
            digest.update(values.asByteBuffer());
        }
    }

    /** Says figures to the bit. */
    private record Teller(Consumer<String> say) implements TuningListener {

        @Override
        public void warmUp(WarmUpReport report) {
            say.accept("warm-up " + report.step() + " " + Double.toHexString(report.loss()));
        }

        @Override
        public void step(StepReport report) {
            say.accept("step " + report.step() + " " + Double.toHexString(report.loss()) + " "
                    + Double.toHexString(report.gradientNorm()) + " " + Double.toHexString(report.learningRate()));
        }

        @Override
        public void validated(ValidationReport report) {
            say.accept("validated " + report.step() + " " + Double.toHexString(report.loss()));
        }
    }

    /** The checkpoints of a job, of which one save hangs while its tensors are read, so that it can be killed there. */
    private static final class Hanging implements TuningCheckpoints {

        private final TuningCheckpoints checkpoints;
        private final int hangAt;
        private final double part;
        private final Consumer<String> say;
        private int saves;

        private Hanging(TuningCheckpoints checkpoints, int hangAt, double part, Consumer<String> say) {
            this.checkpoints = checkpoints;
            this.hangAt = hangAt;
            this.part = part;
            this.say = say;
        }

        @Override
        public Optional<Saved> load() {
            return checkpoints.load();
        }

        @Override
        public boolean due() {
            return checkpoints.due();
        }

        @Override
        public void save(TuningProgress progress, List<NamedTensor> tensors) {
            saves++;
            checkpoints.save(progress, saves == hangAt ? hanging(tensors) : tensors);
        }

        /** A file is written in two passes over its tensors: one for the header, one for their bytes. */
        private List<NamedTensor> hanging(List<NamedTensor> tensors) {
            int last = (int) (2 * tensors.size() * part);
            return new AbstractList<>() {
                private int reads;

                @Override
                public NamedTensor get(int index) {
                    if (reads++ == last) {
                        say.accept("writing");
                        try {
                            Thread.sleep(Duration.ofMinutes(10));
                        } catch (InterruptedException stopped) {
                            throw new IllegalStateException("killed by an interruption only", stopped);
                        }
                    }
                    return tensors.get(index);
                }

                @Override
                public int size() {
                    return tensors.size();
                }
            };
        }
    }
}
