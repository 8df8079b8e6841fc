package io.inlay.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.Problem;
import org.junit.jupiter.api.Test;

class CpuKernelsTest {

    @Test
    void each_implementation_can_be_asked_for_by_name() {
        assertThat(CpuKernels.best("scalar").name()).isEqualTo("scalar");
        assertThat(CpuKernels.best("vector").name()).isEqualTo("vector");
    }

    @Test
    void the_fastest_that_works_here_is_the_default() {
        String best = CpuKernels.best(null).name();
        String last = CpuKernels.candidates().stream().map(candidate -> candidate.kernels().name())
                .filter(name -> name.startsWith("native")).findFirst().orElse("vector");
        assertThat(best).isEqualTo(last);
    }

    @Test
    void an_unknown_name_is_refused_with_the_known_ones() {
        assertThatThrownBy(() -> CpuKernels.best("cuda")).isInstanceOfSatisfying(Problem.class,
                problem -> assertThat(problem.code()).isEqualTo(Problem.Code.UNAVAILABLE))
                .hasMessage("inlay.kernels is 'cuda'; it can be native, vector or scalar");
    }

    @Test
    void the_instruction_sets_of_a_processor_are_listed_best_first() {
        String zen5 = "processor\t: 0\nflags\t\t:"
                + " fpu fma movbe abm f16c bmi1 avx2 bmi2 avx512f avx512dq avx512cd avx512bw avx512vl avx512_bf16\n";
        assertThat(InstructionSet.of("amd64", zen5)).containsExactly(InstructionSet.X86_64_V4_BF16, InstructionSet.X86_64_V4,
                InstructionSet.X86_64_V3);
        assertThat(InstructionSet.of("amd64", zen5.replace("avx512_bf16", ""))).containsExactly(InstructionSet.X86_64_V4,
                InstructionSet.X86_64_V3);
        assertThat(InstructionSet.of("amd64", "flags\t\t: fpu fma movbe abm f16c bmi1 avx2 bmi2\n"))
                .containsExactly(InstructionSet.X86_64_V3);
        assertThat(InstructionSet.of("amd64", "flags\t\t: fpu sse4_2\n")).isEmpty();
        assertThat(InstructionSet.of("aarch64", "Features\t: fp asimd evtstrm\n")).containsExactly(InstructionSet.AARCH64);
        assertThat(InstructionSet.of("aarch64", "")).isEmpty();
    }

    @Test
    void bf16IsMultipliedAsFp32WhereThatIsTheFasterWay() {
        String intel = "vendor_id\t: GenuineIntel\nflags\t\t: avx512_bf16 avx512f\n";
        assertThat(InstructionSet.widensBf16(intel)).isTrue();
        assertThat(InstructionSet.widensBf16(intel.replace("avx512f", "avx512f amx_bf16"))).isFalse();
        assertThat(InstructionSet.widensBf16(intel.replace("GenuineIntel", "AuthenticAMD"))).isFalse();
        assertThat(InstructionSet.widensBf16("")).isFalse();
    }
}
