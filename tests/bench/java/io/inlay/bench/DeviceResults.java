package io.inlay.bench;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What all stages came to, and the page of it: tests/gpu/RESULTS.md where a GPU ran. */
final class DeviceResults {

    private final Map<String, List<String>> outputs = new LinkedHashMap<>();
    private final List<Verdict> verdicts = new ArrayList<>();
    private String commit = "unknown";
    private String card = "unknown";
    private String versions = "";

    void commit(String id) {
        commit = id;
    }

    void describe(String device, JsonNode libraries) {
        card = device;
        StringBuilder text = new StringBuilder();
        libraries.properties().forEach(each -> text.append(each.getKey()).append(' ').append(each.getValue().asText()).append(", "));
        versions = text.toString();
    }

    /** Takes in a stage's output with the verdicts in it. */
    void stage(String title, List<String> lines) {
        outputs.put(title, lines);
        lines.forEach(line -> Verdict.parse(line).ifPresent(verdicts::add));
    }

    void add(Verdict verdict) {
        verdicts.add(verdict);
    }

    /** Whether there is a line for that name. */
    boolean tells(String name) {
        return verdicts.stream().anyMatch(each -> each.name().equals(name));
    }

    /** No check failed, and something was run. */
    boolean passed() {
        return verdicts.stream().noneMatch(each -> each.kind() == Verdict.Kind.FAIL) && !verdicts.isEmpty();
    }

    void write(Path file, BenchDevice device) throws IOException {
        StringBuilder page = new StringBuilder();
        if (device.device().isCpu()) {
            page.append("Nothing here was run on a GPU: the stages of tests/gpu/run at a tiny size on the CPU, "
                    + "whose figures mean nothing.\n\n");
        } else {
            page.append("# Inlay on ").append(card).append("\n\n");
        }
        page.append("| | |\n|---|---|\n| date | ").append(Instant.now().truncatedTo(ChronoUnit.SECONDS)).append(" |\n| commit | ").append(commit)
                .append(" |\n| device | ").append(card).append(" |\n| versions | ").append(versions).append("Java ")
                .append(Runtime.version()).append(" |\n\n| | check | |\n|---|---|---|\n");
        for (Verdict each : verdicts) {
            page.append("| ").append(outcome(each)).append(" | ").append(each.name()).append(" | ").append(each.text().replace("|", "\\|"))
                    .append(" |\n");
        }
        outputs.forEach((stage, lines) -> page.append("\n## ").append(stage).append("\n\n```\n").append(String.join("\n", lines))
                .append("\n```\n"));
        Files.createDirectories(file.toAbsolutePath().getParent());
        Files.writeString(file, page.toString());
    }

    /** Of a bar, whether it was reached. */
    private static String outcome(Verdict verdict) {
        if (verdict.kind() != Verdict.Kind.BAR) {
            return verdict.kind().name();
        }
        double value = Double.parseDouble(verdict.text().split(" ")[0]);
        return GpuBar.titled(verdict.name()).filter(bar -> bar.reached(value)).isPresent() ? "reached" : "MISSED";
    }
}
