/* An interpreter of a small register machine, with a switch for its dispatch, that counts primes by trial division. */
#include "kernels.h"

enum opcode { LOAD, ADD, MULTIPLY, REMAINDER, INCREMENT, JUMP, JUMP_IF_LESS, JUMP_IF_EQUAL, JUMP_IF_ZERO, HALT };

struct instruction {
    uint8_t opcode, a, b, target;
    uint32_t immediate;
};

enum { CANDIDATE, DIVISOR, SQUARE, REST, COUNT, LIMIT, REGISTERS };

static const struct instruction program[] = {
    /* 0 */ {LOAD, CANDIDATE, 0, 0, 2},
    /* 1 */ {LOAD, COUNT, 0, 0, 0},
    /* 2: next candidate */ {JUMP_IF_EQUAL, CANDIDATE, LIMIT, 14, 0},
    /* 3 */ {LOAD, DIVISOR, 0, 0, 2},
    /* 4: next divisor */ {LOAD, SQUARE, 0, 0, 0},
    /* 5 */ {ADD, SQUARE, DIVISOR, 0, 0},
    /* 6 */ {MULTIPLY, SQUARE, DIVISOR, 0, 0},
    /* 7 */ {JUMP_IF_LESS, CANDIDATE, SQUARE, 12, 0},
    /* 8 */ {REMAINDER, REST, CANDIDATE, DIVISOR, 0},
    /* 9 */ {JUMP_IF_ZERO, REST, 0, 13, 0},
    /* 10 */ {INCREMENT, DIVISOR, 0, 0, 0},
    /* 11 */ {JUMP, 0, 0, 4, 0},
    /* 12: a prime */ {INCREMENT, COUNT, 0, 0, 0},
    /* 13: not one */ {INCREMENT, CANDIDATE, 0, 2, 0},
    /* 14 */ {HALT, 0, 0, 0, 0},
};

static uint32_t interpret(uint32_t limit)
{
    uint32_t registers[REGISTERS] = {[LIMIT] = limit};
    const struct instruction *next = program;
    for (;;) {
        const struct instruction *now = next++;
        switch (now->opcode) {
        case LOAD:
            registers[now->a] = now->immediate;
            break;
        case ADD:
            registers[now->a] += registers[now->b];
            break;
        case MULTIPLY:
            registers[now->a] *= registers[now->b];
            break;
        case REMAINDER:
            registers[now->a] = registers[now->b] % registers[now->target];
            break;
        case INCREMENT:
            registers[now->a]++;
            if (now->target != 0)
                next = program + now->target;
            break;
        case JUMP:
            next = program + now->target;
            break;
        case JUMP_IF_LESS:
            if (registers[now->a] < registers[now->b])
                next = program + now->target;
            break;
        case JUMP_IF_EQUAL:
            if (registers[now->a] == registers[now->b])
                next = program + now->target;
            break;
        case JUMP_IF_ZERO:
            if (registers[now->a] == 0)
                next = program + now->target;
            break;
        case HALT:
            return registers[COUNT];
        }
    }
}

uint64_t bytecode_run(unsigned units)
{
    uint64_t primes = 0;
    for (unsigned unit = 0; unit < units; unit++)
        primes += interpret(6000 + unit);
    return primes;
}
