package io.inlay.kernels;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;

/** What kernels/cpu/build.sh compiles for, best first, with the features that /proc/cpuinfo must list. */
enum InstructionSet {
    X86_64_V4_BF16("amd64", "x86-64-v4-bf16", "native avx512bf16", "avx512f avx512bw avx512cd avx512dq avx512vl avx512_bf16 avx2 fma bmi2"),
    X86_64_V4("amd64", "x86-64-v4", "native avx512", "avx512f avx512bw avx512cd avx512dq avx512vl avx2 fma bmi2"),
    X86_64_V3("amd64", "x86-64-v3", "native avx2", "avx2 fma f16c bmi1 bmi2 movbe abm"),
    AARCH64("aarch64", "aarch64", "native neon", "asimd");

    private final String architecture;
    private final String library;
    private final String title;
    private final List<String> features;

    InstructionSet(String architecture, String library, String title, String features) {
        this.architecture = architecture;
        this.library = library;
        this.title = title;
        this.features = List.of(features.split(" "));
    }

    /** Where the library lies on the class path. */
    String resource() {
        return "native/libinlay-" + library + ".so";
    }

    /** For logs. */
    String title() {
        return title;
    }

    /**
     * Whether products of bf16 are made faster of fp32 than by the processor's instruction for them, which libtorch uses: Intel's cores
     * start one vdpbf16ps in two cycles, but two fused multiply-adds of vectors in one. With AMX that instruction is another.
     */
    boolean widensBf16() {
        return this == X86_64_V4_BF16 && widensBf16(cpuinfo());
    }

    static boolean widensBf16(String cpuinfo) {
        return cpuinfo.lines().anyMatch(line -> line.startsWith("vendor_id") && line.endsWith("GenuineIntel"))
                && !features(cpuinfo).contains("amx_bf16");
    }

    /** Those that this machine's processor has, best first; none where there is no /proc/cpuinfo. */
    static List<InstructionSet> ofThisMachine() {
        return of(System.getProperty("os.arch"), cpuinfo());
    }

    private static String cpuinfo() {
        try {
            return Files.readString(Path.of("/proc/cpuinfo"));
        } catch (IOException unreadable) {
            return "";
        }
    }

    static List<InstructionSet> of(String architecture, String cpuinfo) {
        Set<String> features = features(cpuinfo);
        return Arrays.stream(values()).filter(set -> set.architecture.equals(architecture) && features.containsAll(set.features)).toList();
    }

    private static Set<String> features(String cpuinfo) {
        return cpuinfo.lines().filter(line -> line.startsWith("flags") || line.startsWith("Features")).findFirst()
                .map(line -> Arrays.stream(line.substring(line.indexOf(':') + 1).trim().split("\\s+")).collect(Collectors.toSet()))
                .orElse(Set.of());
    }
}
