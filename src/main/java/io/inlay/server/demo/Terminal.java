package io.inlay.server.demo;

import java.io.PrintStream;

/** Lines, and one progress line that is rewritten in place on a terminal and printed every few seconds elsewhere. */
final class Terminal {
    private static final int WIDTH = 110;
    private static final int BAR = 20;
    private static final long NANOS_BETWEEN_LINES = 5_000_000_000L;

    private final PrintStream out;
    private final boolean rewrites = System.console() != null && System.console().isTerminal();
    private boolean inProgress;
    private long lastPrinted;

    Terminal(PrintStream out) {
        this.out = out;
        this.lastPrinted = System.nanoTime();
    }

    void title(String text) {
        line("");
        line(text);
    }

    void block(String text) {
        text.lines().forEach(each -> line("    " + each));
    }

    void line(String text) {
        if (inProgress) {
            out.print("\r" + " ".repeat(WIDTH) + "\r");
            inProgress = false;
        }
        out.println(text);
        out.flush();
        lastPrinted = System.nanoTime();
    }

    void progress(String text) {
        if (rewrites) {
            String shown = text.length() > WIDTH ? text.substring(0, WIDTH) : text;
            out.print("\r" + shown + " ".repeat(WIDTH - shown.length()));
            out.flush();
            inProgress = true;
        } else if (System.nanoTime() - lastPrinted > NANOS_BETWEEN_LINES) {
            line(text);
        }
    }

    static String bar(int done, int all) {
        int filled = all == 0 ? 0 : BAR * done / all;
        return "[" + "#".repeat(filled) + ".".repeat(BAR - filled) + "]";
    }
}
