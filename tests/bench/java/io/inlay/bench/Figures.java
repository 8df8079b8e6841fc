package io.inlay.bench;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/** Medians, and the lines that a benchmark ends with. */
final class Figures {

    private Figures() {
    }

    static double median(List<Double> values) {
        double[] sorted = values.stream().mapToDouble(Double::doubleValue).sorted().toArray();
        int middle = sorted.length / 2;
        return sorted.length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }

    static String spread(List<Double> values) {
        double[] sorted = values.stream().mapToDouble(Double::doubleValue).sorted().toArray();
        return String.format(Locale.ROOT, "%.3g .. %.3g", sorted[0], sorted[sorted.length - 1]);
    }

    static void atLeast(String name, double value, double target) {
        System.out.printf(Locale.ROOT, "BAR %s %.3f >= %s%n", name, value, plain(target));
    }

    static void atMost(String name, double value, double target) {
        System.out.printf(Locale.ROOT, "BAR %s %.3f <= %s%n", name, value, plain(target));
    }

    static void skipped(String name, String reason) {
        System.out.println("SKIPPED " + name + " " + reason.lines().findFirst().orElse(""));
    }

    private static String plain(double target) {
        return target == Math.rint(target) ? Long.toString((long) target) : Double.toString(target);
    }

    /** Columns as wide as their widest cell; the first left, the others right. */
    static void table(List<String[]> rows) {
        int[] widths = new int[rows.getFirst().length];
        rows.forEach(row -> Arrays.setAll(widths, i -> Math.max(widths[i], row[i].length())));
        for (String[] row : rows) {
            StringBuilder line = new StringBuilder();
            for (int i = 0; i < row.length; i++) {
                line.append(i == 0 ? "%%-%ds".formatted(widths[i]).formatted(row[i]) : "  %%%ds".formatted(widths[i]).formatted(row[i]));
            }
            System.out.println(line);
        }
    }
}
