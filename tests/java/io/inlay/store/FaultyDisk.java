package io.inlay.store;

import java.io.IOException;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.SQLException;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import javax.sql.DataSource;

/**
 * A disk and a database of which one operation goes wrong: it fails, writes half, or is the last before the power is gone. What was not
 * forced to the disk by then is lost: bytes of files, and entries of folders.
 */
final class FaultyDisk implements DiskOperations {

    /** How the operation goes wrong. */
    enum Fault {
        FAIL,
        SHORT_WRITE,
        POWER_OFF_BEFORE,
        POWER_OFF_AFTER
    }

    /** The process is no more; it catches nothing. */
    static final class PowerOff extends Error {
        PowerOff() {
            super("the power is off");
        }
    }

    private final Fault fault;
    private final int victim;
    private final Map<FileChannel, Path> open = new HashMap<>();
    private final Set<Path> unforced = new HashSet<>();
    private final Set<Path> unforcedNames = new HashSet<>();
    private int operations;
    private boolean off;

    /**
     * @param victim the number of the operation, from 0; none for a large one
     */
    FaultyDisk(Fault fault, int victim) {
        this.fault = fault;
        this.victim = victim;
    }

    int operations() {
        return operations;
    }

    private interface Step {
        void run() throws IOException, SQLException;
    }

    private void step(Step step) throws IOException, SQLException {
        if (off) {
            throw new PowerOff();
        }
        boolean wrong = operations++ == victim;
        if (wrong && (fault == Fault.FAIL || fault == Fault.SHORT_WRITE)) {
            throw new IOException("Input/output error");
        }
        if (wrong && fault == Fault.POWER_OFF_BEFORE) {
            powerOff();
        }
        step.run();
        if (wrong) {
            powerOff();
        }
    }

    private void onDisk(Step step) throws IOException {
        try {
            step(step);
        } catch (SQLException impossible) {
            throw new AssertionError(impossible);
        }
    }

    private void powerOff() throws IOException {
        off = true;
        for (Path name : unforcedNames) {
            Files.deleteIfExists(name);
        }
        for (Path file : unforced) {
            if (Files.exists(file)) {
                try (FileChannel channel = FileChannel.open(file, java.nio.file.StandardOpenOption.WRITE)) {
                    channel.truncate(channel.size() / 2);
                }
            }
        }
        throw new PowerOff();
    }

    @Override
    public FileChannel create(Path file) throws IOException {
        FileChannel[] channel = new FileChannel[1];
        onDisk(() -> {
            channel[0] = LOCAL.create(file);
            open.put(channel[0], file);
            unforced.add(file);
        });
        return channel[0];
    }

    @Override
    public void write(FileChannel file, byte[] bytes) throws IOException {
        if (operations == victim && fault == Fault.SHORT_WRITE) {
            LOCAL.write(file, Arrays.copyOf(bytes, bytes.length / 2));
        }
        onDisk(() -> LOCAL.write(file, bytes));
    }

    @Override
    public void force(FileChannel file) throws IOException {
        onDisk(() -> {
            LOCAL.force(file);
            unforced.remove(open.get(file));
        });
    }

    @Override
    public void link(Path name, Path file) throws IOException {
        onDisk(() -> {
            LOCAL.link(name, file);
            unforcedNames.add(name);
        });
    }

    @Override
    public boolean delete(Path file) throws IOException {
        boolean[] there = new boolean[1];
        onDisk(() -> there[0] = LOCAL.delete(file));
        return there[0];
    }

    @Override
    public void createFolder(Path folder) throws IOException {
        onDisk(() -> LOCAL.createFolder(folder));
    }

    @Override
    public void forceFolder(Path folder) throws IOException {
        onDisk(() -> {
            LOCAL.forceFolder(folder);
            unforcedNames.removeIf(name -> name.getParent().equals(folder));
        });
    }

    /** A database whose every commit is one of the operations. */
    DataSource database(DataSource source) {
        return wrapped(DataSource.class, source, (name, call) -> {
            if (off) {
                throw new PowerOff();
            }
            Object result = call.run();
            return name.equals("getConnection") ? connection((Connection) result) : result;
        });
    }

    private Connection connection(Connection connection) {
        return wrapped(Connection.class, connection, (name, call) -> {
            if (name.equals("commit")) {
                try {
                    step(() -> {
                        try {
                            call.run();
                        } catch (SQLException failure) {
                            throw failure;
                        } catch (Throwable other) {
                            throw new IllegalStateException(other);
                        }
                    });
                } catch (IOException failure) {
                    throw new SQLException("Input/output error", failure);
                }
                return null;
            }
            return call.run();
        });
    }

    private interface Call {
        Object run() throws Throwable;
    }

    private interface Around {
        Object call(String name, Call call) throws Throwable;
    }

    private static <T> T wrapped(Class<T> type, T inner, Around around) {
        return type.cast(Proxy.newProxyInstance(type.getClassLoader(), new Class<?>[] {type}, (_, method, arguments) ->
                around.call(method.getName(), () -> {
                    try {
                        return method.invoke(inner, arguments);
                    } catch (InvocationTargetException thrown) {
                        throw thrown.getCause();
                    }
                })));
    }
}
