// Warp-collective operations: what a lane asks for, and what is done when all lanes of a mask have come.
#include "block.h"

namespace inlay_host {

void mma_bf16_16x8x16(float* d, const unsigned* a, const unsigned* b, const char* file, int line) {
    Collective mine = {};
    mine.kind = Collective::MMA;
    mine.mask = 0xffffffffu;
    mine.file = file;
    mine.line = line;
    mine.d = d;
    mine.a = a;
    mine.b = b;
    collective(mine);
}

void ldmatrix_x4(unsigned* to, const void* row, bool transposed, const char* file, int line) {
    require_aligned(row, 16, "ldmatrix");
    Collective mine = {};
    mine.kind = Collective::MATRIX;
    mine.mask = 0xffffffffu;
    mine.file = file;
    mine.line = line;
    mine.value = reinterpret_cast<uintptr_t>(row);
    mine.transposed = transposed;
    mine.to = to;
    collective(mine);
}

// ---- what is done ----

static float element(unsigned pair, int which) {
    return __uint_as_float(which == 0 ? pair << 16 : pair & 0xffff0000u);
}

static void multiply(Collective* const* lanes) {
    float a[16][16], b[16][8];
    for (int lane = 0; lane < WARP; lane++) {
        const int g = lane / 4, t = lane % 4;
        for (int i = 0; i < 2; i++) {
            a[g][2 * t + i] = element(lanes[lane]->a[0], i);
            a[g + 8][2 * t + i] = element(lanes[lane]->a[1], i);
            a[g][2 * t + 8 + i] = element(lanes[lane]->a[2], i);
            a[g + 8][2 * t + 8 + i] = element(lanes[lane]->a[3], i);
            b[2 * t + i][g] = element(lanes[lane]->b[0], i);
            b[2 * t + 8 + i][g] = element(lanes[lane]->b[1], i);
        }
    }
    for (int row = 0; row < 16; row++) {
        float sums[8] = {};
        for (int k = 0; k < 16; k++) {
            for (int column = 0; column < 8; column++) {
                sums[column] += a[row][k] * b[k][column];
            }
        }
        for (int column = 0; column < 8; column++) {
            lanes[row % 8 * 4 + column / 2]->d[row / 8 * 2 + column % 2] += sums[column];
        }
    }
}

static void load_matrices(Collective* const* lanes) {
    unsigned short rows[WARP][8];
    for (int lane = 0; lane < WARP; lane++) {
        memcpy(rows[lane], reinterpret_cast<const void*>(static_cast<uintptr_t>(lanes[lane]->value)), 16);
    }
    for (int lane = 0; lane < WARP; lane++) {
        const int g = lane / 4, t = lane % 4;
        for (int matrix = 0; matrix < 4; matrix++) {
            const unsigned short(*m)[8] = rows + 8 * matrix;
            const bool transposed = lanes[lane]->transposed;
            const unsigned low = transposed ? m[2 * t][g] : m[g][2 * t];
            const unsigned high = transposed ? m[2 * t + 1][g] : m[g][2 * t + 1];
            lanes[lane]->to[matrix] = low | high << 16;
        }
    }
}

bool Worker::resolve(int warp) {
    Collective* lanes[WARP] = {};
    const int count = threads - warp * WARP < WARP ? threads - warp * WARP : WARP;
    for (int lane = 0; lane < count; lane++) {
        Fiber& fiber = fibers[warp * WARP + lane];
        lanes[lane] = fiber.state == IN_COLLECTIVE ? fiber.waiting : nullptr;
    }
    for (int first = 0; first < count; first++) {
        if (lanes[first] == nullptr) {
            continue;
        }
        const Collective op = *lanes[first];
        bool whole = true;
        for (int lane = 0; lane < WARP && whole; lane++) {
            const bool wanted = op.mask >> lane & 1;
            whole = !wanted || (lanes[lane] != nullptr && lanes[lane]->mask == op.mask && lanes[lane]->kind == op.kind
                                && lanes[lane]->line == op.line);
        }
        if (!whole) {
            continue;
        }
        uint64_t values[WARP] = {};
        unsigned votes = 0;
        for (int lane = 0; lane < WARP; lane++) {
            if (op.mask >> lane & 1) {
                values[lane] = lanes[lane]->value;
                votes |= static_cast<unsigned>(values[lane] & 1) << lane;
            }
        }
        if (op.kind == Collective::MMA) {
            multiply(lanes);
        } else if (op.kind == Collective::MATRIX) {
            load_matrices(lanes);
        }
        for (int lane = 0; lane < WARP; lane++) {
            if ((op.mask >> lane & 1) == 0) {
                continue;
            }
            Collective& mine = *lanes[lane];
            if (op.kind == Collective::SHUFFLE) {
                if (mine.source < 0 || mine.source >= WARP || (op.mask >> mine.source & 1) == 0) {
                    running = nullptr;
                    fail("lane %d reads lane %d, which is not in the mask %08x, at %s:%d", lane, mine.source, op.mask,
                         base_name(op.file), op.line);
                    return false;
                }
                mine.value = values[mine.source];
            } else if (op.kind == Collective::BALLOT) {
                mine.value = votes;
            }
            fibers[warp * WARP + lane].state = READY;
        }
        return true;
    }
    return false;
}

}  // namespace inlay_host
