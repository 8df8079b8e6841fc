package io.inlay.load;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;

/** What was asked and what came of it, by kind of request. Thread-safe. */
final class Ledger {

    /** Violations that are told of one by one. */
    private static final int SHOWN = 20;

    private final Map<String, Row> rows = new TreeMap<>();
    private final List<String> violations = new ArrayList<>();
    private int violated;

    private static final class Row {
        private int sent;
        private final Map<String, Integer> outcomes = new TreeMap<>();
        private final List<Double> first = new ArrayList<>();
        private final List<Double> whole = new ArrayList<>();
    }

    private Row row(String kind) {
        return rows.computeIfAbsent(kind, _ -> new Row());
    }

    synchronized void sent(String kind) {
        row(kind).sent++;
    }

    /** @param outcome in a word: what the request was to get, or a clear error */
    synchronized void ended(String kind, String outcome) {
        row(kind).outcomes.merge(outcome, 1, Integer::sum);
    }

    /** An answer, with the seconds to its first piece, or to its end where it was whole, and to its end. */
    synchronized void answered(String kind, double first, double whole) {
        ended(kind, "answered");
        row(kind).first.add(first);
        row(kind).whole.add(whole);
    }

    synchronized void violation(String kind, String what) {
        ended(kind, "VIOLATION");
        violated++;
        if (violations.size() < SHOWN) {
            violations.add(kind + ": " + what);
        }
    }

    /** Sent and not ended, over all kinds. */
    synchronized int open() {
        return rows.values().stream().mapToInt(row -> row.sent - row.outcomes.values().stream().mapToInt(Integer::intValue).sum()).sum();
    }

    synchronized int count(String outcome) {
        return rows.values().stream().mapToInt(row -> row.outcomes.getOrDefault(outcome, 0)).sum();
    }

    synchronized int violated() {
        return violated;
    }

    synchronized List<String> violations() {
        return List.copyOf(violations);
    }

    /** A line a kind: requests, outcomes, and of answers the median and the 99th percentile in milliseconds. */
    synchronized String table() {
        StringBuilder table = new StringBuilder(String.format(Locale.ROOT, "%-18s %7s %12s %12s %12s %12s  %s%n", "requests", "sent",
                "first p50",
                "first p99", "whole p50", "whole p99", "outcomes"));
        rows.forEach((kind, row) -> table.append(String.format(Locale.ROOT, "%-18s %7d %12s %12s %12s %12s  %s%n", kind, row.sent,
                millis(row.first, 0.5), millis(row.first, 0.99), millis(row.whole, 0.5), millis(row.whole, 0.99), row.outcomes)));
        return table.toString();
    }

    private static String millis(List<Double> seconds, double share) {
        if (seconds.isEmpty()) {
            return "-";
        }
        double[] sorted = seconds.stream().mapToDouble(Double::doubleValue).toArray();
        Arrays.sort(sorted);
        return String.format(Locale.ROOT, "%.1f ms", 1e3 * sorted[(int) Math.min(sorted.length - 1, Math.floor(share * sorted.length))]);
    }
}
