package io.inlay.bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** llama.cpp as tests/bench/peers/llama-cpp.sh builds it, over the same checkpoint converted to bf16 GGUF; a process a figure. */
final class LlamaCpp {

    private static final ObjectMapper JSON = new ObjectMapper();
    private static final int STREAMS = 16;

    private final Path programs;
    private final Path model;

    private LlamaCpp(Path programs, Path model) {
        this.programs = programs;
        this.model = model;
    }

    /** Builds it and converts the checkpoint, once; null where that is not to be had. */
    static LlamaCpp make(Path checkpoint, String python) throws IOException, InterruptedException {
        if (python == null) {
            return null;
        }
        Path gguf = checkpoint.resolveSibling(checkpoint.getFileName() + "-bf16.gguf");
        Process made = new ProcessBuilder("bash", "tests/bench/peers/llama-cpp.sh", python, checkpoint.toString(), gguf.toString())
                .redirectError(ProcessBuilder.Redirect.INHERIT).start();
        String programs = new String(made.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
        return made.waitFor() == 0 ? new LlamaCpp(Path.of(programs), gguf) : null;
    }

    /** Tokens a second of one stream. */
    double decode() {
        return bench("-p", "0", "-n", "48").get(0).get("avg_ts").asDouble();
    }

    /** Seconds that a prompt of 512 tokens takes. */
    double prefill() {
        return 512 / bench("-p", "512", "-n", "0").get(0).get("avg_ts").asDouble();
    }

    private JsonNode bench(String... what) {
        List<String> command = new ArrayList<>(List.of(programs.resolve("llama-bench").toString(), "-m", model.toString(), "-t", threads(), "-r",
                "1", "-o", "json"));
        command.addAll(List.of(what));
        return read(command);
    }

    /** Tokens a second of 16 streams together. */
    double batch() {
        List<String> command = List.of(programs.resolve("llama-batched-bench").toString(), "-m", model.toString(), "-t", threads(), "-c", "4096",
                "-b", "512", "-npp", "32", "-ntg", "48", "-npl", Integer.toString(STREAMS), "--output-format", "jsonl");
        return read(command).get("speed_tg").asDouble();
    }

    private static String threads() {
        return Integer.toString(Runtime.getRuntime().availableProcessors());
    }

    private static JsonNode read(List<String> command) {
        try {
            Process process = new ProcessBuilder(command).redirectError(Path.of("target", "bench-llama-cpp.log").toFile()).start();
            String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            if (process.waitFor() != 0) {
                throw new IOException(command.getFirst() + " ended with " + process.exitValue() + "; see target/bench-llama-cpp.log");
            }
            int begin = out.indexOf('\n' + (command.contains("jsonl") ? "{" : "["));
            return JSON.readTree(begin < 0 ? out : out.substring(begin + 1));
        } catch (IOException failure) {
            throw new UncheckedIOException(failure);
        } catch (InterruptedException interrupted) {
            throw new IllegalStateException(interrupted);
        }
    }
}
