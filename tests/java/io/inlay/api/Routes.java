package io.inlay.api;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * The expected matrix of routes and roles, {@code routes.txt} beside this class.
 *
 * @param change empty for a route that changes nothing
 */
record Routes(Set<String> roles, String change) {

    /** By method and path. */
    static Map<String, Routes> expected() throws IOException {
        Map<String, Routes> routes = new TreeMap<>();
        for (String line : Files.readAllLines(Path.of("tests/java/io/inlay/api/routes.txt"))) {
            if (!line.startsWith("#")) {
                String[] columns = line.split("\\s+");
                routes.put(columns[0] + " " + columns[1], new Routes(new TreeSet<>(Arrays.asList(columns[2].split(","))),
                        columns[3].equals("-") ? "" : columns[3]));
            }
        }
        return routes;
    }
}
