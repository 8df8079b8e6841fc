package io.inlay.server;

import io.quarkus.runtime.Quarkus;
import io.quarkus.runtime.annotations.QuarkusMain;
import org.slf4j.LoggerFactory;

/** The packaged server's entry. */
@QuarkusMain
public final class Main {

    private Main() {
    }

    public static void main(String[] arguments) {
        // Two threads that both begin to log first would wait for each other: JUL's manager and JBoss's initialise one another.
        LoggerFactory.getLogger(Main.class).debug("starting");
        EarlyLibtorch.begin();
        Quarkus.run(arguments);
    }
}
