package io.inlay.bench;

import io.inlay.bench.PaperBench.Result;
import io.inlay.model.Projection;
import io.inlay.tuning.SelectionReport;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;

/** The page that {@link PaperBench} writes: Markdown tables, and plots as SVG beside it. */
final class PaperPage {

    private static final String[] COLOURS = {"#1f6feb", "#8250df", "#1a7f37", "#bf8700", "#cf222e"};
    private static final int WIDTH = 640;
    private static final int HEIGHT = 360;
    private static final int MARGIN = 50;

    private final Path folder;
    private final boolean quick;
    private final StringBuilder text = new StringBuilder();

    PaperPage(Path folder, boolean quick) {
        this.folder = folder;
        this.quick = quick;
    }

    Path file() {
        return folder.resolve("README.md");
    }

    void begin(String description, int seeds, double base) {
        text.append("# The paper's comparisons, on a model of ours\n\n`./inlay bench paper").append(quick ? " --quick" : "")
                .append("` wrote this page. ").append(description).append(". ").append(seeds)
                .append(" seeds; mean and standard deviation; each method at its own best learning rate of a grid, found on another seed by held-out "
                        + "loss. The base answers ").append(number(base)).append(" % right.\n");
    }

    void table3(Map<String, List<Result>> byMethod) throws IOException {
        heading("Table 3: methods by share of parameters", "method");
        byMethod.forEach((method, results) -> rows(method, results));
        Result full = byMethod.get("full").getFirst();
        Map<String, List<double[]>> lines = byMethod.entrySet().stream().filter(entry -> !entry.getKey().equals("full")).collect(
                Collectors.toMap(Map.Entry::getKey, entry -> entry.getValue().stream()
                        .map(result -> new double[] {100 * result.share(), result.accuracy()}).toList(), (a, _) -> a, java.util.LinkedHashMap::new));
        List<double[]> level = new ArrayList<>();
        List<double[]> first = lines.values().iterator().next();
        level.add(new double[] {first.getFirst()[0], full.accuracy()});
        level.add(new double[] {first.getLast()[0], full.accuracy()});
        lines.put("full", level);
        plot("accuracy.svg", lines);
        text.append("\n![Accuracy in percent by percent of parameters trained](accuracy.svg)\n");
    }

    private void rows(String title, List<Result> results) {
        for (Result result : results) {
            text.append("| ").append(title.isEmpty() ? result.name() : title).append(" | ").append(number(100 * result.share())).append(" % | ")
                    .append(String.format(Locale.ROOT, "%.1e", result.rate())).append(" | ")
                    .append(String.format(Locale.ROOT, "%.1f ± %.1f %%", result.accuracy(), result.spread())).append(" | ")
                    .append(String.format(Locale.ROOT, "%.4f", result.loss())).append(" |\n");
        }
    }

    void table(String title, String what, List<Result> results) {
        heading(title, what);
        rows("", results);
    }

    private void heading(String title, String firstColumn) {
        text.append("\n## ").append(title).append("\n\n| ").append(firstColumn)
                .append(" | parameters trained | learning rate | held-out accuracy | held-out loss |\n|---|---:|---:|---:|---:|\n");
    }

    /** Figures 4 and 5: blocks by layer and matrix. */
    void selection(String share, SelectionReport report) {
        text.append("\n## Figures 4 and 5: where the ").append(report.blocks()).append(" blocks at ").append(share).append(" lie (seed 1)\n\n| layer |");
        List<Projection> projections = report.matrices().stream().map(SelectionReport.MatrixCount::projection).distinct().toList();
        projections.forEach(projection -> text.append(' ').append(projection.name().toLowerCase(Locale.ROOT)).append(" |"));
        text.append(" all |\n|---|").append("---:|".repeat(projections.size() + 1)).append('\n');
        int layers = report.matrices().stream().mapToInt(SelectionReport.MatrixCount::layer).max().orElse(0) + 1;
        for (int layer = 0; layer < layers; layer++) {
            text.append("| ").append(layer).append(" |");
            for (SelectionReport.MatrixCount matrix : report.matrices()) {
                if (matrix.layer() == layer) {
                    text.append(' ').append(matrix.blocks()).append(" of ").append(matrix.candidates()).append(" |");
                }
            }
            text.append(' ').append(report.inLayer(layer)).append(" |\n");
        }
        text.append("| all |");
        projections.forEach(projection -> text.append(' ').append(report.of(projection)).append(" |"));
        text.append(' ').append(report.blocks()).append(" |\n");
    }

    void end(double seconds) throws IOException {
        text.append(String.format(Locale.ROOT, "%nMade in %.0f minutes on %d cores.%n", seconds / 60, Runtime.getRuntime().availableProcessors()));
        Files.writeString(file(), text);
    }

    /** Lines over a linear x and an accuracy of 0 to 100 on y. */
    private void plot(String name, Map<String, List<double[]>> lines) throws IOException {
        double most = lines.values().stream().flatMap(List::stream).mapToDouble(point -> point[0]).max().orElse(1) * 1.05;
        StringBuilder svg = new StringBuilder(String.format(Locale.ROOT, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
                + "font-family=\"sans-serif\" font-size=\"12\"><rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>%n", WIDTH + 130, HEIGHT));
        for (int y = 0; y <= 100; y += 20) {
            svg.append(String.format(Locale.ROOT, "<path d=\"M%d %.1fH%d\" stroke=\"#ddd\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%d</text>%n",
                    MARGIN, y(y), WIDTH, MARGIN - 6, y(y) + 4, y));
        }
        for (int x = 0; x <= most; x++) {
            svg.append(String.format(Locale.ROOT, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%d %%</text>%n", x(x, most), HEIGHT - MARGIN + 18, x));
        }
        int number = 0;
        for (Map.Entry<String, List<double[]>> line : lines.entrySet()) {
            String colour = COLOURS[number % COLOURS.length];
            String points = line.getValue().stream().map(point -> String.format(Locale.ROOT, "%.1f,%.1f", x(point[0], most), y(point[1])))
                    .collect(Collectors.joining(" "));
            svg.append(String.format(Locale.ROOT, "<polyline points=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"/>%n", points, colour));
            svg.append(String.format(Locale.ROOT, "<text x=\"%d\" y=\"%d\" fill=\"%s\">%s</text>%n", WIDTH + 10, MARGIN + 18 * number, colour,
                    line.getKey()));
            number++;
        }
        Files.writeString(folder.resolve(name), svg.append("</svg>\n"));
    }

    private static double x(double value, double most) {
        return MARGIN + (WIDTH - MARGIN) * value / most;
    }

    private static double y(double value) {
        return HEIGHT - MARGIN - (HEIGHT - 2.0 * MARGIN) * value / 100;
    }

    private static String number(double value) {
        return String.format(Locale.ROOT, "%.2f", value);
    }
}
