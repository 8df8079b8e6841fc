package io.inlay.api;

import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.LogRecord;
import java.util.logging.Logger;

/** Everything that the server logs at a level and above, until this is closed; what the tests' own HTTP client logs is left out. */
final class HeardLog extends Handler implements AutoCloseable {

    private final List<String> lines = new CopyOnWriteArrayList<>();
    private final Logger root = Logger.getLogger("");
    private final Level before = root.getLevel();

    HeardLog(Level level) {
        setLevel(level);
        root.addHandler(this);
        root.setLevel(level);
    }

    @Override
    public void publish(LogRecord record) {
        if (!String.valueOf(record.getLoggerName()).startsWith("org.apache.http")) {
            lines.add(record.getMessage() + " " + Arrays.toString(record.getParameters()) + " " + record.getThrown());
        }
    }

    List<String> lines() {
        return lines;
    }

    @Override
    public void flush() {
    }

    @Override
    public void close() {
        root.removeHandler(this);
        root.setLevel(before);
    }
}
